"""Hold what deploys it to the tools that know such files, and write anew what the chart comes to.

Run by `make deployments`, which brings the tools; `systemd-analyze` is Debian's, and said to be missing where it is.
"""

import shutil
import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import yaml  # type: ignore[import-untyped]  # PyYAML's types are a package of their own

from tests.deployments.chart import ALL_ON, CHART, FEW, RENDERED, ROOT, written

KUBERNETES: Final = ("1.27", "1.31", "1.34")
"""Releases whose schemas the manifests are held to."""
WORST_EXPOSURE: Final = 15
"""Tenths of what `systemd-analyze security` may find: 100 is a unit without any protection."""


def main() -> None:
    """Check everything; end with 1 if something is wrong."""
    checks = (chart, dockerfile, script, compose, yaml_files, units)
    wrong = [fault for check in checks for fault in check()]
    for fault in wrong:
        print(f"deployments: {fault}")  # noqa: T201 - a program for people
    sys.exit(1 if wrong else 0)


def say(what: str) -> None:
    """Say what is being held to what."""
    print(f"deployments: {what} ...")  # noqa: T201 - a program for people


def chart() -> list[str]:
    """Lint the chart, render it with few and with all values, hold the manifests to schemas, and keep them."""
    helm, kubernetes = import_module("helm_python"), import_module("kubernetes_validate")
    say(f"chart: lint and template, Helm {helm.helm_sdk_version()}")
    said = helm.lint(str(CHART), ALL_ON, strict=True)["messages"]
    wrong = [f"chart: {one['path']}: {one['error']}" for one in said if one["severity"] > 1]
    with helm.Chart.load(str(CHART)) as loaded:
        texts = [loaded.render(values, name="release", namespace="default") for values in (FEW, ALL_ON)]
        try:
            loaded.render({}, name="release")
        except helm.HelmError as error:
            wrong += [] if "existingSecret" in str(error) else [f"chart: {error}"]
        else:
            wrong.append("chart: it is rendered without a secret")
    for release in KUBERNETES:
        say(f"chart: schemas of Kubernetes {release}")
        for rendered in texts:
            wrong += [fault for one in documents(rendered) for fault in refused(kubernetes, one, release)]
    manifests = sorted(documents(texts[-1]), key=lambda one: (one["kind"], one["metadata"]["name"]))
    RENDERED.write_text(written(yaml.safe_dump_all(manifests, width=120), helm.helm_sdk_version()), "utf-8")
    return wrong


def documents(rendered: dict[str, str]) -> list[dict[str, Any]]:
    """Return the manifests of a rendering."""
    return [one for text in rendered.values() for one in yaml.safe_load_all(text) if one]


def refused(kubernetes: Any, manifest: dict[str, Any], release: str) -> list[str]:
    """Return why Kubernetes of a release would refuse a manifest. KEDA's own kinds are not in its schemas."""
    if manifest["apiVersion"].startswith("keda.sh/"):
        return []
    try:
        kubernetes.validate(manifest, release, strict=True)
    except kubernetes.ValidationError as error:
        return [f"chart: {manifest['kind']} {manifest['metadata']['name']}: {error.message}"]
    return []


def dockerfile() -> list[str]:
    """Lint the Dockerfile."""
    return told("hadolint", "Dockerfile")


def script() -> list[str]:
    """Lint the script that makes passwords."""
    return told("shellcheck", "deploy/setup.sh")


def compose() -> list[str]:
    """Hold the compose file to the schema of its specification."""
    say("compose-spec deploy/compose.yaml")
    merged = yaml.safe_dump(yaml.safe_load((ROOT / "deploy/compose.yaml").read_text("utf-8")))
    try:
        import_module("compose_spec").PyCompose.from_yaml(merged).validate()
    except ValueError as error:
        return [f"compose file: {error}"]
    return []


def yaml_files() -> list[str]:
    """Lint the YAML that is no template."""
    rules = "{line-length: disable, document-start: disable, comments: {min-spaces-from-content: 1}}"
    files = ("deploy/compose.yaml", "deploy/prometheus", "deploy/grafana", "deploy/helm/agentbus/values.yaml")
    return told("yamllint", "--strict", "-d", f"{{extends: default, rules: {rules}}}", *files)


def units() -> list[str]:
    """Verify the units, with a program that there is in the place of the one that is installed."""
    if shutil.which("systemd-analyze") is None:
        say("units: left out, as there is no systemd-analyze here")
        return []
    with tempfile.TemporaryDirectory() as folder:
        for file in (ROOT / "deploy/systemd").iterdir():
            text = file.read_text("utf-8").replace("/opt/agentbus/bin/agentbus", "/bin/true")
            (Path(folder) / file.name.replace("@.", "@session.")).write_text(text, "utf-8")
        unit = f"{folder}/agentbus@session.service"
        return [
            *told("systemd-analyze", "verify", unit, f"{folder}/agentbus.target"),
            *told("systemd-analyze", "security", "--offline=true", f"--threshold={WORST_EXPOSURE}", "--no-pager", unit),
        ]


def told(program: str, *arguments: str) -> list[str]:
    """Run a program over files of the repository; return what it says if it finds something."""
    say(f"{program} {' '.join(one for one in arguments if not one.startswith(('-', '{')))}")
    beside = Path(sys.executable).parent / program
    command = [str(beside) if beside.exists() else program, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    well = done.returncode == 0 and not done.stderr  # systemd-analyze ends well with what it only warns of
    return [] if well else [f"{program}: {done.stdout}{done.stderr}".strip()]


if __name__ == "__main__":
    main()
