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

files, refused = {}, []
for package in sys.argv[1:]:
    root = importlib.import_module(package)
    files[package] = root.__file__
    for module in pkgutil.walk_packages(root.__path__, package + ".", onerror=refused.append):
        if module.name.startswith(("agentbus.testing.adapters", "agentbus.testing.conformance")):
            continue  # They need pytest.
        if not module.name.endswith((".__main__", ".revisions.env")):  # Python runs the one, alembic the other.
            files[module.name] = importlib.import_module(module.name).__file__
assert refused == ["agentbus.testing.conformance"], refused
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
    # What discord.py imports of Python up to 3.12; from 3.13 on it brings its own.
    warnings = ("-W", "error", "-W", "ignore:'audioop' is deprecated:DeprecationWarning")
    shown = wheel.run(programs / "python", *warnings, "-c", IMPORT_ALL, "agentbus", folder=tmp_path)
    assert shown.returncode == 0, shown.stderr
    files = json.loads(shown.stdout)
    assert len(files) > 300
    assert [file for file in files.values() if not Path(file).is_relative_to(programs.parent)] == []


OWN_STORE = """\
from agentbus.storage.files import FileStore
from agentbus.storage.port import Store, StoreOptions

class ShelfStore(FileStore):
    pass

def opened(url: str, options: StoreOptions) -> Store:
    return ShelfStore("file://" + url.partition("://")[2], options)
"""
OWN_PROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "agentbus-shelf"
version = "1"
[project.entry-points."agentbus.stores"]
shelf = "agentbus_shelf:opened"
[tool.hatch.build.targets.wheel]
only-include = ["agentbus_shelf.py"]
"""
OWN_USE = """\
import asyncio, sys
from agentbus.sessions import initialize_sessions, shutdown_sessions

async def use():
    system = await initialize_sessions("shelf", storage_config={"url": sys.argv[1]})
    await system.create_session("lobby", "ann", "web")
    await shutdown_sessions()

asyncio.run(use())
"""


def test_a_package_brings_a_store_of_its_own(programs: Path, tmp_path: Path) -> None:
    project, shelf = tmp_path / "project", f"shelf://{tmp_path}/kept"
    project.mkdir()
    (project / "agentbus_shelf.py").write_text(OWN_STORE)
    (project / "pyproject.toml").write_text(OWN_PROJECT)
    unknown = wheel.run(programs / "agentbus", "store", "info", shelf, folder=tmp_path)
    assert "no store is known for shelf://" in unknown.stderr

    wheel.add(wheel.build_wheel(tmp_path / "dist", project), programs)

    used = wheel.run(programs / "python", "-c", OWN_USE, shelf, folder=tmp_path)
    assert (used.returncode, used.stderr) == (0, "")
    told = wheel.run(programs / "agentbus", "store", "info", shelf, "--json", folder=tmp_path)
    assert json.loads(told.stdout)["sessions"] == 1
    unknown = wheel.run(programs / "agentbus", "store", "info", "drawer://x", folder=tmp_path)
    assert "schemes are file://, mariadb://" in unknown.stderr
    assert ", shelf://, " in unknown.stderr


def test_a_program_may_have_packages_of_those_names(programs: Path, tmp_path: Path) -> None:
    for name in FOLDERS:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("MINE = True\n")
    script, own = tmp_path / "app.py", ", ".join(FOLDERS)
    ours = ", ".join(["agentbus.sessions", *(f"agentbus.{name}" for name in FOLDERS)])
    shown = f"assert all(one.MINE for one in ({own}))\nprint(*(one.__file__ for one in ({ours})), sep='\\n')\n"
    for first, second in ((own, ours), (ours, own)):
        script.write_text(f"import {first}\nimport {second}\n{shown}")
        done = wheel.run(programs / "python", "app.py", folder=tmp_path)
        assert done.returncode == 0, done.stderr
        files = [Path(line) for line in done.stdout.splitlines()]
        assert [file.is_relative_to(programs.parent) for file in files] == [True] * 4


def test_nothing_of_those_names_is_installed(programs: Path, tmp_path: Path) -> None:
    tried = "".join(
        f"try:\n    import {name}\nexcept ModuleNotFoundError as error:\n    print(error)\n" for name in FOLDERS
    )
    shown = wheel.run(programs / "python", "-c", tried, folder=tmp_path)
    assert shown.stdout.splitlines() == [f"No module named '{name}'" for name in FOLDERS]


def test_the_commands_work_beside_a_program_with_packages_of_those_names(programs: Path, tmp_path: Path) -> None:
    for name in FOLDERS:
        (tmp_path / f"{name}.py").write_text("raise SystemExit('mine')\n")
    shown = wheel.run(programs / "python", "-m", "agentbus", "--version", folder=tmp_path)
    assert shown.stdout.startswith("agentbus "), shown.stderr
    shown = wheel.run(programs / "agentbus", "demo", "--rounds", "1", "--json", folder=tmp_path)
    assert (shown.returncode, json.loads(shown.stdout)["lost"]) == (0, 0), shown.stderr
    assert len(list(tmp_path.iterdir())) == len(FOLDERS), "it leaves nothing behind"
