"""The folders are the architecture: who may import whom, and that it is our packages that are imported."""

import ast
import importlib
import subprocess
import sys
import tomllib
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

import pytest
from importlinter.api import read_configuration
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

_ROOT = Path(__file__).resolve().parents[2]
_PROJECT: dict[str, Any] = tomllib.loads((_ROOT / "pyproject.toml").read_text("utf-8"))
_PACKAGES = ("contracts", "storage", "workers", "agentbus")


def test_the_rules_on_imports_are_kept(capsys: pytest.CaptureFixture[str]) -> None:
    """`make arch` runs the same from the command line."""
    code = lint_imports(config_filename=str(_ROOT / "pyproject.toml"), no_cache=True, no_logo=True)
    assert code == EXIT_STATUS_SUCCESS, capsys.readouterr().out


def test_the_rules_have_no_exceptions() -> None:
    contracts = read_configuration(str(_ROOT / "pyproject.toml"))["contracts_options"]
    assert {contract["type"] for contract in contracts} == {"layers", "forbidden", "acyclic_siblings"}
    for contract in contracts:
        assert not contract.keys() & {"ignore_imports", "allow_indirect_imports", "skip_descendants"}


def test_every_layer_is_a_package_of_the_distribution() -> None:
    built = _PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    layers = _PROJECT["tool"]["importlinter"]["contracts"][0]["layers"]
    assert set(built) == set(layers) == set(_PACKAGES)


@pytest.mark.parametrize("name", _PACKAGES)
def test_a_package_is_imported_from_this_project(name: str) -> None:
    """Their names are everyday names: another distribution's must not be taken for ours."""
    file = importlib.import_module(name).__file__
    assert file is not None
    assert Path(file).resolve() == _ROOT / name / "__init__.py"


def test_the_distribution_is_never_uploaded() -> None:
    assert "Private :: Do Not Upload" in _PROJECT["project"]["classifiers"]
    assert "Private :: Do Not Upload" in (metadata("agentbus").get_all("Classifier") or [])


_FOR_THE_COMMAND_LINE = (
    "agentbus.cli",
    "agentbus.client",  # what a program publishes and subscribes with
    "agentbus.composition",
    "agentbus.demo",
    "agentbus.logs",
    "agentbus.operations",
    "agentbus.sessions",
    "agentbus.settings",
    "contracts",
)


def imports_past_the_operations(source: str) -> set[str]:
    """Return which modules of ours a file of the command line imports, anywhere in it, that it has no business with."""
    named = set[str]()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            named |= {one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom):
            named |= {f"{node.module}.{one.name}" for one in node.names}
    ours = {name for name in named if name.partition(".")[0] in _PACKAGES}
    return {name for name in ours if not f"{name}.".startswith(tuple(f"{one}." for one in _FOR_THE_COMMAND_LINE))}


@pytest.mark.parametrize("file", sorted((_ROOT / "agentbus" / "cli").rglob("*.py")), ids=lambda file: file.name)
def test_the_command_line_calls_operations_and_nothing_behind_them(file: Path) -> None:
    assert imports_past_the_operations(file.read_text("utf-8")) == set()


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("from workers.sync.policies import DEFAULT", {"workers.sync.policies.DEFAULT"}),
        ("def f():\n    import storage.port", {"storage.port"}),
        ("from agentbus import variables", {"agentbus.variables"}),
        ("from agentbus.client_of_ours import x", {"agentbus.client_of_ours.x"}),
        ("from agentbus.client import AgentBus\nimport contracts.ids\nimport typer", set()),
    ],
)
def test_a_shortcut_of_the_command_line_is_found(line: str, found: set[str]) -> None:
    assert imports_past_the_operations(line) == found


def imported_by(statement: str, *looked_for: str) -> set[str]:
    """Return which of some packages a fresh process has imported after a statement."""
    look = f"import sys; {statement}; print(*({set(looked_for)} & {{*sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", look], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_session_library_imports_nothing_that_it_may_never_use() -> None:
    """A store's driver, a broker's, an archive's, a mail server's: imported when they are opened."""
    drivers = ("sqlalchemy", "motor", "pymongo", "aio_pika", "faststream", "fsspec", "httpx", "aiosmtplib", "anyio")
    others = ("uvicorn", "starlette", "structlog", "rich", "typer")
    assert imported_by("import agentbus.sessions", *drivers, *others) == set()
    assert imported_by("import agentbus.sessions", "pydantic") == {"pydantic"}


def test_a_command_imports_no_driver_that_it_has_no_use_for() -> None:
    """SQLAlchemy, MongoDB's drivers and FastStream together double the time that each command takes to start."""
    assert imported_by("import agentbus.cli.app", "sqlalchemy", "motor", "pymongo", "faststream", "aio_pika") == set()
