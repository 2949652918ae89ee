"""What is installed is what was built, and needs nothing else; it takes no name but its own."""

import json
import zipfile
from pathlib import Path

import pytest

from tests.harness import wheel

FOLDERS = ("contracts", "storage", "workers")
"""What is at the top level of the repository, and is not when it is installed."""

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


def test_the_wheel_holds_one_package_and_nothing_else(built: Path) -> None:
    with zipfile.ZipFile(built) as archive:
        names = archive.namelist()
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {"agentbus"}
    assert "agentbus/py.typed" in names
    assert "agentbus/contracts/schema/v1/input.json" in names
    assert "agentbus/storage/redis/lua/append.lua" in names
    assert {f"agentbus/{folder}/__init__.py" for folder in FOLDERS} <= set(names)


def test_every_module_is_there_and_needs_nothing_of_development(programs: Path, tmp_path: Path) -> None:
    shown = wheel.run(programs / "python", "-W", "error", "-c", IMPORT_ALL, "agentbus", folder=tmp_path)
    assert shown.returncode == 0, shown.stderr
    files = json.loads(shown.stdout)
    assert len(files) > 300
    assert [file for file in files.values() if not Path(file).is_relative_to(programs.parent)] == []


def test_the_demonstration_runs(programs: Path, tmp_path: Path) -> None:
    shown = wheel.run(programs / "agentbus", "demo", "--rounds", "1", "--json", folder=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert json.loads(shown.stdout)["lost"] == 0
    assert list(tmp_path.iterdir()) == [], "it leaves nothing behind"


@pytest.mark.parametrize("name", FOLDERS)
def test_a_program_may_have_a_package_of_that_name(programs: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("MINE = True\n")
    script = tmp_path / "app.py"
    for first, second in ((name, f"agentbus.{name}, agentbus.sessions"), ("agentbus.sessions", name)):
        script.write_text(f"import {first}\nimport {second}\nassert {name}.MINE\nprint(agentbus.{name}.__file__)\n")
        shown = wheel.run(programs / "python", "app.py", folder=tmp_path)
        assert shown.returncode == 0, shown.stderr
        assert Path(shown.stdout.strip()).is_relative_to(programs.parent)


@pytest.mark.parametrize("name", FOLDERS)
def test_nothing_of_that_name_is_installed(programs: Path, tmp_path: Path, name: str) -> None:
    shown = wheel.run(programs / "python", "-c", f"import {name}", folder=tmp_path)
    assert f"No module named '{name}'" in shown.stderr


def test_the_commands_work_beside_a_program_with_packages_of_those_names(programs: Path, tmp_path: Path) -> None:
    for name in FOLDERS:
        (tmp_path / f"{name}.py").write_text("raise SystemExit('mine')\n")
    for command in (("python", "-m", "agentbus"), ("agentbus",)):
        shown = wheel.run(programs / command[0], *command[1:], "demo", "--rounds", "1", "--json", folder=tmp_path)
        assert (shown.returncode, json.loads(shown.stdout)["lost"]) == (0, 0), shown.stderr
