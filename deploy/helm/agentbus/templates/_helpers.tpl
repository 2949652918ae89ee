{{- define "agentbus.labels" -}}
app.kubernetes.io/name: agentbus
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "agentbus.name" -}}
{{ printf "%s-agentbus-%s" .release .kind | trunc 63 | trimSuffix "-" }}
{{- end }}
