"""The chart and what it comes to: rendered by Helm itself when it changes, and kept, so that tests need no Helm."""

import hashlib
from pathlib import Path
from typing import Any, Final

import yaml  # type: ignore[import-untyped]  # PyYAML's types are a package of their own

ROOT: Final = Path(__file__).parents[2]
CHART: Final = ROOT / "deploy/helm/agentbus"
RENDERED: Final = ROOT / "tests/deployments/rendered.yaml"

FEW: Final = {"existingSecret": "agentbus"}
"""As few values as it can be installed with."""
ALL_ON: Final[dict[str, Any]] = {
    "existingSecret": "agentbus",
    "keda": {"enabled": True},
    "workers": {kind: {"enabled": True} for kind in ("backup", "gateway", "outbound", "api")},
}
"""Values by which each template comes to something."""


def digest() -> str:
    """Return what the chart's files come to: what was rendered from others is out of date."""
    found = hashlib.sha256()
    for file in sorted(one for one in CHART.rglob("*") if one.is_file()):
        found.update(f"{file.relative_to(CHART)}\0{file.read_text('utf-8')}\0".encode())
    return found.hexdigest()


def written(documents: str, helm: str) -> str:
    """Return what is kept of a rendering."""
    return f"# Written by `make deployments`, Helm {helm}, of files that come to {digest()}.\n{documents}"


def manifests() -> list[dict[str, Any]]:
    """Return the manifests that were rendered last."""
    return [one for one in yaml.safe_load_all(RENDERED.read_text("utf-8")) if one]
