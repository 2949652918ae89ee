"""The built wheel in an environment of its own: what it needs at run time, and nothing of development."""

import subprocess
import sys
import venv
from importlib.metadata import files
from pathlib import Path
from typing import Final

from packaging.markers import default_environment

from tests.harness.patience import PATIENCE
from tests.harness.processes import ROOT
from tests.repository.locks import locked

_HERE: Final = {key: str(value) for key, value in default_environment().items()}


def build_wheel(folder: Path, project: Path = ROOT) -> Path:
    """Build the wheel as the Dockerfile does, from this project or another, and return it."""
    _pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(project))
    (wheel,) = folder.glob("*.whl")
    return wheel


def install(wheel: Path, folder: Path) -> Path:
    """Make an environment with the wheel and what requirements/runtime.txt holds; return its `bin`.

    The packages of the lock are those of the environment that runs the tests, linked: nothing is fetched. pip then says
    whether all that the wheel requires is there.
    """
    venv.create(folder, symlinks=True, with_pip=False)
    (packages,) = folder.glob("lib/python*/site-packages")
    for name in locked((ROOT / "requirements" / "runtime.txt").read_text("utf-8"), _HERE):
        _link(name, packages)
    python = folder / "bin" / "python"
    _pip("--python", str(python), "install", "--no-deps", "--no-index", str(wheel))
    _pip("--python", str(python), "check")
    return python.parent


def add(wheel: Path, programs: Path) -> None:
    """Install one more wheel into the environment whose `bin` is given."""
    _pip("--python", str(programs / "python"), "install", "--no-deps", "--no-index", str(wheel))


def _link(name: str, packages: Path) -> None:
    """Link an installed distribution's files into `packages`: its own folders and modules, not its scripts."""
    for file in files(name) or ():
        top = file.parts[0]
        if top not in {"..", "__pycache__"} and not (packages / top).exists():
            installed = Path(str(file.locate())).parents[len(file.parts) - 1] / top
            (packages / top).symlink_to(installed)


def _pip(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pip", *arguments], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, f"pip {' '.join(arguments)}: {done.stdout}{done.stderr}"


def run(program: Path, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a program of the environment in `folder`, as if nothing else were on the machine's path to Python."""
    return subprocess.run(
        [program, *arguments],
        cwd=folder,
        env={"PATH": str(program.parent), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE,
        check=False,
    )
