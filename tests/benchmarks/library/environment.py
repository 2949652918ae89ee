"""The environment of the other libraries: apart from ours, made for a run by pip and deleted after it."""

import subprocess
import venv
from pathlib import Path
from typing import Final

from tests.harness.processes import ROOT

PACKAGES: Final = (
    "langgraph-checkpoint-redis==0.5.2",
    "langgraph-checkpoint-sqlite==3.1.2",
    "openai-agents==0.24.0",
    "pymongo==4.15.4",
    "redis",
)
"""What is compared, in the versions of the results that are kept."""

_INSTALL_SECONDS: Final = 600.0


def make_environment(folder: Path) -> Path:
    """Make an environment with PACKAGES in a folder; return its Python. Raises CalledProcessError without them."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    command = [str(python), "-m", "pip", "install", "-qq", *PACKAGES]
    subprocess.run(command, check=True, timeout=_INSTALL_SECONDS)
    return python


def versions_in(python: Path) -> dict[str, str]:
    """Return the versions of PACKAGES that an environment has."""
    names = [package.partition("==")[0] for package in PACKAGES]
    program = f"import importlib.metadata as m\nfor name in {names!r}: print(name, m.version(name))"
    done = subprocess.run([str(python), "-c", program], cwd=ROOT, check=True, capture_output=True, text=True)
    return dict(line.split() for line in done.stdout.splitlines())
