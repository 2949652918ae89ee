"""The environment of the other libraries: apart from ours, made by pip, and kept for the next run."""

import shutil
import subprocess
import sys
import venv
from hashlib import sha256
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


def kept_environment(root: Path = ROOT / ".services") -> Path:
    """Return where the environment of PACKAGES, as they are named now, is kept for this Python."""
    named = sha256("\n".join((sys.version, *PACKAGES)).encode()).hexdigest()[:12]
    return root / f"other-libraries-{named}"


def make_environment(folder: Path) -> Path:
    """Make an environment with PACKAGES, if there is none; return its Python. Raises CalledProcessError without them.

    One that was not made to its end is made anew.
    """
    python, whole = folder / "bin" / "python", folder / "whole"
    if whole.is_file():
        return python
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    command = [str(python), "-m", "pip", "install", "-qq", *PACKAGES]
    subprocess.run(command, check=True, timeout=_INSTALL_SECONDS)
    whole.touch()
    return python


def versions_in(python: Path) -> dict[str, str]:
    """Return the versions of PACKAGES that an environment has."""
    names = [package.partition("==")[0] for package in PACKAGES]
    program = f"import importlib.metadata as m\nfor name in {names!r}: print(name, m.version(name))"
    done = subprocess.run([str(python), "-c", program], cwd=ROOT, check=True, capture_output=True, text=True)
    return dict(line.split() for line in done.stdout.splitlines())
