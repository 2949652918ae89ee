"""`make` lists what there is, and every target does what it says rather than a file of its name."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.harness.processes import ROOT

MAKEFILE: Final = (ROOT / "Makefile").read_text("utf-8")
TARGETS: Final = re.findall(r"^\.PHONY: (?!anew$)(.+)$", MAKEFILE, re.MULTILINE)


def make(*arguments: str, folder: Path = ROOT) -> str:
    """Return what `make` prints; nothing of the run's own make reaches it."""
    env = {"PATH": os.environ["PATH"]}
    command = ["make", *arguments]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=True, timeout=60).stdout


def test_make_lists_every_target() -> None:
    assert re.findall(r"^  make (\S+) +\S", make(), re.MULTILINE) == TARGETS
    assert {"demo", "demo-soak", "test"} <= set(TARGETS)


def test_no_target_is_a_file() -> None:
    named = re.findall(r"^([a-z][\w-]*):(?!=)", MAKEFILE, re.MULTILINE)
    assert [name for name in named if name != "anew"] == TARGETS


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Make a project that is set up, with this Python."""
    for name in ("Makefile", "pyproject.toml", "requirements/dev.txt", ".venv/.ready"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / ".venv/bin").mkdir()
    (tmp_path / ".venv/bin/python").symlink_to(sys.executable)
    (tmp_path / ".venv/.ready").touch()
    return tmp_path


def other_python(folder: Path) -> str:
    """Make a Python that says that it is another one."""
    program = folder / "other"
    program.write_text("#!/bin/sh\necho /elsewhere 3.99\n")
    program.chmod(0o755)
    return str(program)


def test_what_is_set_up_is_left_alone(project: Path) -> None:
    assert "pip install" not in make("--dry-run", "setup", folder=project)
    assert "pip install" not in make("--dry-run", "setup", f"PYTHON={sys.executable}", folder=project)


def test_another_python_is_not_ignored(project: Path) -> None:
    assert "pip install" in make("--dry-run", "setup", f"PYTHON={other_python(project)}", folder=project)


def test_a_new_lock_is_installed(project: Path) -> None:
    later = (project / ".venv/.ready").stat().st_mtime + 1
    os.utime(project / "requirements/dev.txt", (later, later))
    assert "pip install" in make("--dry-run", "setup", folder=project)


PIP: Final = """#!/bin/sh
for half; do :; done
case "$*" in
  *"pip install"*"-r "*)
    grep -q "^$FAILING" "$half" && { echo "no hash of $FAILING" >&2; exit 1; }
    cp "$half" "installed.$$";;
esac
"""


@pytest.mark.parametrize("failing", ["nothing", "aio-pika", "aiohttp"])
def test_all_that_is_locked_is_installed_or_the_set_up_fails(project: Path, failing: str) -> None:
    (project / ".venv/bin/python").unlink()
    (project / ".venv/bin/python").write_text(PIP)
    (project / ".venv/bin/python").chmod(0o755)
    (project / ".venv/.ready").unlink()
    env = {"PATH": os.environ["PATH"], "FAILING": failing}
    done = subprocess.run(
        ["make", "setup"], cwd=project, env=env, capture_output=True, text=True, check=False, timeout=60
    )
    installed = [line for half in project.glob("installed.*") for line in half.read_text("utf-8").splitlines()]
    if failing == "nothing":
        assert done.returncode == 0, done.stderr
        assert sorted(installed) == sorted((project / "requirements/dev.txt").read_text("utf-8").splitlines())
    else:  # the other half is installed all the same, and make says what failed
        assert installed
        assert done.returncode != 0
        assert f"no hash of {failing}" in done.stderr
        assert not (project / ".venv/.ready").exists()


CHECKS: Final = ("ruff check", "lint-imports", "mypy", "python -m pytest -n", "python -m pytest tests/benchmarks")


@pytest.mark.parametrize("failing", ["nothing", *CHECKS])
def test_one_check_that_fails_fails_make_test(project: Path, failing: str) -> None:
    for name in ("python", "mypy", "ruff", "lint-imports"):
        program = project / ".venv/bin" / name
        program.unlink(missing_ok=True)
        program.write_text(f'#!/bin/sh\necho "did {name} $*"\ncase "{name} $*" in "{failing}"*) exit 3;; esac\n')
        program.chmod(0o755)
    done = subprocess.run(["make", "test"], cwd=project, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode == 0) == (failing == "nothing"), done.stdout + done.stderr
    said = [check for check in CHECKS if f"did {check}" in done.stdout]
    beside = failing in {"mypy", "python -m pytest -n"}  # neither keeps the other from being told
    assert said == list(CHECKS[: 4 if beside else None if failing == "nothing" else CHECKS.index(failing) + 1])
