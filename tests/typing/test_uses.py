"""Both type checkers take the right uses, and find an error in each line of the wrong ones: `uses/*_wrong.py`.

mypy's part is `make types`.
"""

import json
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

from tests.harness.processes import ROOT

HERE = Path(__file__).parent
USES = HERE / "uses"
PACKAGES = ("agentbus", "agentbus.contracts", "agentbus.storage", "agentbus.workers")

NOT_WRONG = """\
from agentbus.sessions import StorageType

StorageType.of("memory")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
StorageType.of(7)
"""


def mypy(file: Path) -> subprocess.CompletedProcess[str]:
    return _run(sys.executable, "-m", "mypy", "--explicit-package-bases", str(file))


def pyright(project: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).parent / "basedpyright"
    return _run(str(program), "--project", str(project), "--pythonpath", sys.executable)


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)


def test_mypy_reads_the_uses_with_all_the_tests() -> None:
    """`make types`, which `make test` begins with, is what mypy says of them."""
    assert "$(PACKAGES) tests examples\n" in (ROOT / "Makefile").read_text("utf-8")
    assert "exclude" not in tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["mypy"]


def test_pyright_agrees() -> None:
    done = pyright(HERE)
    assert done.returncode == 0, done.stdout


def test_a_right_line_marked_wrong_and_a_wrong_line_are_found(tmp_path: Path) -> None:
    (tmp_path / "uses").mkdir()
    sample = tmp_path / "uses" / "sample.py"
    sample.write_text(NOT_WRONG)
    settings = json.loads((HERE / "pyrightconfig.json").read_text())
    (tmp_path / "pyrightconfig.json").write_text(json.dumps({**settings, "extraPaths": [str(ROOT)]}))
    by_mypy, by_pyright = mypy(sample), pyright(tmp_path)
    assert (by_mypy.returncode, by_pyright.returncode) == (1, 1)
    assert "sample.py:3: error: Unused" in by_mypy.stdout
    assert "sample.py:4: error: Argument 1" in by_mypy.stdout
    assert "reportUnnecessaryTypeIgnoreComment" in by_pyright.stdout
    assert "sample.py:4:16 - error" in by_pyright.stdout


def test_every_wrong_line_is_marked_for_both() -> None:
    for file in USES.glob("*_wrong.py"):
        marked = [line for line in file.read_text("utf-8").splitlines() if "ignore[" in line]
        assert len(marked) >= 9
        assert [line for line in marked if "# type: ignore[" not in line or "# pyright: ignore[" not in line] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_says_that_it_is_typed(package: str) -> None:
    spec = find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    assert (Path(spec.origin).parent / "py.typed").is_file()


def test_the_wheel_says_that_it_is_typed() -> None:
    builder = WheelBuilder(str(ROOT))
    shipped = {file.distribution_path for file in builder.recurse_included_files()}
    assert {f"{package.replace('.', '/')}/py.typed" for package in PACKAGES} <= shipped
