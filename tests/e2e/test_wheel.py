"""What is installed is what was built, and needs nothing else; a name that somebody else has is said clearly."""

import json
import subprocess
import zipfile
from pathlib import Path

import pytest

from agentbus.own_packages import OWN
from tests import wheel

PACKAGES = ("agentbus", *OWN)

IMPORT_ALL = """\
import importlib, json, pkgutil, sys

files = {}
for package in sys.argv[1:]:
    root = importlib.import_module(package)
    files[package] = root.__file__
    for module in pkgutil.walk_packages(root.__path__, package + "."):
        if not module.name.endswith(".__main__"):
            files[module.name] = importlib.import_module(module.name).__file__
print(json.dumps(files))
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wheel.build_wheel(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def programs(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wheel.install(built, tmp_path_factory.mktemp("installed") / "environment")


def test_the_wheel_holds_our_packages_and_nothing_else(built: Path) -> None:
    with zipfile.ZipFile(built) as archive:
        names = archive.namelist()
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == set(PACKAGES)
    assert "agentbus/py.typed" in names
    assert "contracts/schema/v1/input.json" in names


def test_every_module_is_there_and_needs_nothing_of_development(programs: Path, tmp_path: Path) -> None:
    shown = wheel.run(programs / "python", "-W", "error", "-c", IMPORT_ALL, *PACKAGES, folder=tmp_path)
    assert shown.returncode == 0, shown.stderr
    files = json.loads(shown.stdout)
    assert len(files) > 100
    assert [file for file in files.values() if not Path(file).is_relative_to(programs.parent)] == []


def test_the_demonstration_runs(programs: Path, tmp_path: Path) -> None:
    shown = wheel.run(programs / "agentbus", "demo", "--rounds", "1", "--json", folder=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert json.loads(shown.stdout)["lost"] == 0
    assert list(tmp_path.iterdir()) == [], "it leaves nothing behind"


def foreign(name: str, folder: Path, *, module: bool = False) -> Path:
    """Make somebody's own package, or module, of a name that we use."""
    file = folder / f"{name}.py" if module else folder / name / "__init__.py"
    file.parent.mkdir(exist_ok=True)
    file.write_text("MINE = True\n")
    return file


def assert_said(shown: subprocess.CompletedProcess[str], name: str, file: Path) -> None:
    assert shown.returncode == 1
    said = shown.stderr.splitlines()[-1]
    assert said.startswith("agentbus.own_packages.ForeignPackage: AgentBus has a package ")
    for part in (repr(name), str(file), "rename", "-P"):
        assert part in said


@pytest.mark.parametrize("module", [False, True], ids=["package", "module"])
@pytest.mark.parametrize("name", OWN)
def test_a_package_of_the_callers_own_is_named(programs: Path, tmp_path: Path, name: str, module: bool) -> None:
    file = foreign(name, tmp_path, module=module)
    script = tmp_path / "app.py"
    script.write_text("from agentbus.sessions import initialize_sessions\n")
    assert_said(wheel.run(programs / "python", "app.py", folder=tmp_path), name, file)
    script.write_text(f"import {name}\nassert {name}.MINE\nimport agentbus\n")
    assert_said(wheel.run(programs / "python", "app.py", folder=tmp_path), name, file)


def test_the_command_is_not_misled_by_the_folder_it_is_run_in(programs: Path, tmp_path: Path) -> None:
    file = foreign("storage", tmp_path)
    assert_said(wheel.run(programs / "python", "-m", "agentbus", "--version", folder=tmp_path), "storage", file)
    for command in (("python", "-P", "-m", "agentbus"), ("agentbus",)):
        shown = wheel.run(programs / command[0], *command[1:], "--version", folder=tmp_path)
        assert (shown.returncode, shown.stdout[:9]) == (0, "agentbus "), shown.stderr


def test_a_folder_that_is_no_package_does_no_harm(programs: Path, tmp_path: Path) -> None:
    (tmp_path / "storage").mkdir()
    shown = wheel.run(programs / "python", "-c", "import agentbus, storage; print(storage.__file__)", folder=tmp_path)
    assert Path(shown.stdout.strip()).is_relative_to(programs.parent), shown.stderr
