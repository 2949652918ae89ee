"""The chart, as Helm rendered it last: every kind of worker, settings that exist, no more rights than it needs."""

import re
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import pytest
import yaml  # type: ignore[import-untyped]  # PyYAML's types are a package of their own
from prometheus_client import CollectorRegistry

from agentbus.composition.probes import probes_app
from agentbus.composition.workers import WORKERS
from agentbus.contracts.telemetry import METRICS
from agentbus.settings import LogFormat, TraceMode, load_settings
from tests.deployments.chart import CHART, RENDERED, digest, manifests
from tests.repository.test_deploy import FILES, SETTINGS, parse_command

KINDS: Final = sorted(kind.value for kind in WORKERS)
MANIFESTS: Final = manifests()
VALUES: Final[dict[str, Any]] = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))


def of_kind(kind: str) -> dict[str, dict[str, Any]]:
    """Return the manifests of a kind, by the worker that they are for."""
    found = [one for one in MANIFESTS if one["kind"] == kind]
    return {one["metadata"]["labels"].get("app.kubernetes.io/component", one["metadata"]["name"]): one for one in found}


DEPLOYMENTS: Final = of_kind("Deployment")


def container(kind: str) -> dict[str, Any]:
    """Return a worker's container."""
    (only,) = DEPLOYMENTS[kind]["spec"]["template"]["spec"]["containers"]
    return dict(only)


def environment(kind: str) -> dict[str, str]:
    return {one["name"]: one["value"] for one in container(kind)["env"]}


def test_what_is_kept_was_rendered_of_the_chart_as_it_is() -> None:
    """If this fails the chart was changed: `make deployments` lints it, renders it anew, and tells what it thinks."""
    assert digest() in RENDERED.read_text("utf-8").partition("\n")[0]


def test_there_is_a_deployment_for_every_kind_of_worker() -> None:
    assert sorted(DEPLOYMENTS) == sorted(VALUES["workers"]) == KINDS


def test_a_worker_runs_a_command_that_exists() -> None:
    for kind in KINDS:
        assert parse_command(container(kind)["args"]) == f"worker {kind}"


def test_its_environment_is_accepted_as_settings(tmp_path: Path) -> None:
    for kind in KINDS:
        with pytest.MonkeyPatch.context() as monkeypatch:
            check_environment(kind, monkeypatch, tmp_path)


def check_environment(kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given = {"amqp-url": "amqp://a:b@c/", "store-url": "mongodb://a:b@c/d", "channels": "{}"}
    for name, value in environment(kind).items():
        file = tmp_path / Path(value).name
        if name in FILES:
            file.write_text(given[file.name])
        monkeypatch.setenv(name, str(file) if name in FILES else value)
    assert {name for name in environment(kind) if name not in SETTINGS | FILES} == set()
    monkeypatch.chdir(tmp_path)
    settings = load_settings()
    assert (settings.bus.partitions, settings.session.scope.value) == (VALUES["partitions"], VALUES["scope"])
    assert settings.log.log_format is LogFormat.JSON
    assert settings.log.traces is TraceMode(VALUES["traces"])


def test_its_probes_ask_where_it_answers() -> None:
    for kind in KINDS:
        one = container(kind)
        paths = {getattr(route, "path", None) for route in probes_app({}, CollectorRegistry()).routes}
        asked = {name: one[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
        assert {name: probe["path"] for name, probe in asked.items()} == {
            "startupProbe": "/live",
            "livenessProbe": "/live",
            "readinessProbe": "/ready",
        }
        assert {probe["path"] for probe in asked.values()} <= paths
        ports = {port["name"]: port["containerPort"] for port in one["ports"]}
        assert {probe["port"] for probe in asked.values()} <= set(ports)
        assert one["args"][one["args"].index("--http-port") + 1] == str(ports["metrics"])
        listens = {
            value for name, value in environment(kind).items() if name in {"AGENTBUS_GATEWAY_PORT", "AGENTBUS_API_PORT"}
        }
        assert listens == {str(port) for name, port in ports.items() if name == "http"}


def test_it_has_no_more_rights_than_it_needs() -> None:
    for kind in KINDS:
        pod, one = DEPLOYMENTS[kind]["spec"]["template"]["spec"], container(kind)
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == 10001, "as the image has it"
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        assert one["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert one["resources"]["limits"]["memory"]
        assert pod["terminationGracePeriodSeconds"] >= 30


def test_secrets_are_files_of_a_secret_that_is_there() -> None:
    for kind in KINDS:
        volumes = {one["name"]: one for one in DEPLOYMENTS[kind]["spec"]["template"]["spec"]["volumes"]}
        assert volumes["secrets"]["secret"]["secretName"] == "agentbus"
        (mount,) = [one for one in container(kind)["volumeMounts"] if one["name"] == "secrets"]
        assert mount["readOnly"] is True
        for name in FILES & environment(kind).keys():
            assert environment(kind)[name].startswith(mount["mountPath"])
        assert not [one for one in MANIFESTS if one["kind"] == "Secret"], "none of ours is in the chart"


def test_accounts_are_given_to_those_that_need_them() -> None:
    given = {kind for kind in KINDS if "AGENTBUS_CHANNELS_FILE" in environment(kind)}
    assert given == {kind.value for kind, row in WORKERS.items() if "AGENTBUS_CHANNELS" in row.does}


def test_only_some_of_a_kind_are_taken_away_at_a_time() -> None:
    budgets = of_kind("PodDisruptionBudget")
    assert sorted(budgets) == KINDS
    for kind, budget in budgets.items():
        assert budget["spec"]["maxUnavailable"] == 1
        assert budget["spec"]["selector"] == DEPLOYMENTS[kind]["spec"]["selector"]


def test_session_workers_are_scaled_by_backlog_up_to_the_partitions() -> None:
    ((kind, scaled),) = of_kind("ScaledObject").items()
    assert kind == "session"
    assert scaled["spec"]["scaleTargetRef"]["name"] == DEPLOYMENTS[kind]["metadata"]["name"]
    assert 1 <= scaled["spec"]["minReplicaCount"] <= scaled["spec"]["maxReplicaCount"] <= VALUES["partitions"]
    assert "replicas" not in DEPLOYMENTS[kind]["spec"], "two that decide undo each other's decisions"
    assert all("replicas" in DEPLOYMENTS[other]["spec"] for other in KINDS if other != kind)
    (trigger,) = scaled["spec"]["triggers"]
    named = set(re.findall(r"\b(?:agentbus|messaging)_\w+", trigger["metadata"]["query"]))
    assert named
    assert named <= {metric.name for metric in METRICS}
    template = (CHART / "templates/workers.yaml").read_text("utf-8")
    assert "maxReplicaCount: {{ min $root.Values.keda.max $root.Values.partitions }}" in template


def test_pods_reach_and_are_reached_by_what_they_need() -> None:
    policies = of_kind("NetworkPolicy")
    (workers,) = [one for name, one in policies.items() if name.endswith("-workers")]
    (web,) = [one for name, one in policies.items() if name.endswith("-web")]
    assert set(workers["spec"]["policyTypes"]) == {"Ingress", "Egress"}
    taken = {port["port"] for rule in workers["spec"]["ingress"] for port in rule["ports"]}
    listening = {port["containerPort"] for kind in KINDS for port in container(kind)["ports"]}
    assert taken == listening
    assert all(rule["from"] for rule in workers["spec"]["ingress"]), "nothing is open to everybody"
    assert {port["port"] for rule in web["spec"]["egress"] for port in rule["ports"]} == {443}
    labels = {kind: DEPLOYMENTS[kind]["spec"]["template"]["metadata"]["labels"] for kind in KINDS}
    assert {kind for kind in KINDS if "agentbus/web" in labels[kind]} >= {"gateway", "outbound"}
    for kind in KINDS:
        assert workers["spec"]["podSelector"]["matchLabels"].items() <= labels[kind].items()


def test_the_chart_is_of_this_release() -> None:
    about = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))
    assert about["appVersion"] == version("agentbus")
