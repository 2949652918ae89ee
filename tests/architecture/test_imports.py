"""The folders are the architecture: who may import whom, and by which one name a module is imported."""

import ast
import importlib
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from importlinter.api import read_configuration
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

_ROOT = Path(__file__).resolve().parents[2]
_PROJECT: dict[str, Any] = tomllib.loads((_ROOT / "pyproject.toml").read_text("utf-8"))
_LAYERS = ("workers", "storage", "contracts")


def test_the_rules_on_imports_are_kept(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """`make arch` runs the same from the command line."""
    # It sets up logging for a process of its own, and silences every logger that there is in this one.
    monkeypatch.setattr("importlinter.cli._configure_logging", lambda _verbose: None)
    code = lint_imports(config_filename=str(_ROOT / "pyproject.toml"), no_cache=True, no_logo=True)
    assert code == EXIT_STATUS_SUCCESS, capsys.readouterr().out


def test_the_rules_have_no_exceptions() -> None:
    contracts = read_configuration(str(_ROOT / "pyproject.toml"))["contracts_options"]
    assert {contract["type"] for contract in contracts} == {"layers", "forbidden", "acyclic_siblings"}
    for contract in contracts:
        assert not contract.keys() & {"ignore_imports", "allow_indirect_imports", "skip_descendants"}


def test_the_distribution_has_one_package_and_the_layers_are_in_it() -> None:
    assert _PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == ["agentbus"]
    layers = _PROJECT["tool"]["importlinter"]["contracts"][0]
    assert layers["containers"] == ["agentbus"]
    assert layers["exhaustive"] is True
    above, *below = layers["layers"]
    assert tuple(below) == _LAYERS
    assert not {*_LAYERS} & {name.strip() for name in above.split(":")}


@pytest.mark.parametrize("name", _LAYERS)
def test_a_layer_is_a_folder_at_the_top_and_a_link_to_it_in_the_package(name: str) -> None:
    link = _ROOT / "agentbus" / name
    assert link.is_symlink(), f"git made no link of {link}: set core.symlinks, and check it out again"
    assert link.readlink() == Path("..", name)
    file = importlib.import_module(f"agentbus.{name}").__file__
    assert file is not None
    assert Path(file) == link / "__init__.py"
    assert Path(file).resolve() == _ROOT / name / "__init__.py"


@pytest.mark.parametrize("name", _LAYERS)
def test_a_layer_can_not_be_imported_by_the_name_of_its_folder(name: str) -> None:
    """Its modules would exist twice, with two of each class: what one raises the other would not catch."""
    with pytest.raises(ImportError, match=f"it is agentbus.{name}: import it by that name"):
        importlib.import_module(name)
    assert name not in sys.modules
    assert name in _PROJECT["tool"]["ruff"]["lint"]["flake8-tidy-imports"]["banned-api"]


def test_no_module_is_imported_under_two_names() -> None:
    twice = {name for name in sys.modules if name.partition(".")[0] in _LAYERS}
    assert twice == set()


_FOR_THE_COMMAND_LINE = (
    "agentbus.cli",
    "agentbus.client",  # what a program publishes and subscribes with
    "agentbus.composition",
    "agentbus.contracts",
    "agentbus.demo",
    "agentbus.logs",
    "agentbus.operations",
    "agentbus.sessions",
    "agentbus.settings",
)


def imports_past_the_operations(source: str) -> set[str]:
    """Return which modules of ours a file of the command line imports, anywhere in it, that it has no business with."""
    named = set[str]()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            named |= {one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom):
            named |= {f"{node.module}.{one.name}" for one in node.names}
    ours = {name for name in named if name.partition(".")[0] in {"agentbus", *_LAYERS}}
    return {name for name in ours if not f"{name}.".startswith(tuple(f"{one}." for one in _FOR_THE_COMMAND_LINE))}


@pytest.mark.parametrize("file", sorted((_ROOT / "agentbus" / "cli").rglob("*.py")), ids=lambda file: file.name)
def test_the_command_line_calls_operations_and_nothing_behind_them(file: Path) -> None:
    assert imports_past_the_operations(file.read_text("utf-8")) == set()


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("from agentbus.workers.sync.policies import DEFAULT", {"agentbus.workers.sync.policies.DEFAULT"}),
        ("def f():\n    import agentbus.storage.port", {"agentbus.storage.port"}),
        ("from agentbus import variables", {"agentbus.variables"}),
        ("from agentbus.client_of_ours import x", {"agentbus.client_of_ours.x"}),
        ("from agentbus.client import AgentBus\nimport agentbus.contracts.ids\nimport typer", set()),
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
