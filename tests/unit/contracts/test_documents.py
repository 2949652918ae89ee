"""Documents that somebody wrote are read with one kind of error, and all that read some go by that."""

import ast
from pathlib import Path

import pytest

from agentbus.contracts.documents import json_in, toml_in
from agentbus.contracts.errors import ConfigurationError
from agentbus.sessions.config import ConfigManager
from agentbus.workers.domain.expiry.documents import parsed_rules
from agentbus.workers.importers import HistoryFormat, HistoryUnreadable, read_history

_ROOT = Path(__file__).resolve().parents[3]
_DEEP = "[" * 100_000
_FILES = [
    file
    for package in ("contracts", "storage", "workers", "agentbus")
    for file in sorted((_ROOT / package).rglob("*.py"))
    if file != _ROOT / "contracts" / "documents.py"
]


def readers(source: str) -> list[int]:
    """Return the lines in which a document is read without the guard."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute)
        and node.attr in {"loads", "load"}
        and isinstance(node.value, ast.Name)
        and node.value.id in {"json", "tomllib"}
    ]


def test_no_document_is_read_but_by_these() -> None:
    found = {str(file.relative_to(_ROOT)): readers(file.read_text("utf-8")) for file in _FILES}
    assert len(found) > 300
    wrong = {file: lines for file, lines in found.items() if lines}
    assert wrong == {}, "say json_in, toml_in: json and tomllib raise RecursionError too"


def test_such_a_line_would_be_found() -> None:
    assert readers("import json\nx = json.loads(y)") == [2]


@pytest.mark.parametrize("text", [_DEEP, "nonsense", "", "[1", '{"a": 1e}', "9" * 10_000, b"\xff"])
def test_what_is_no_json_is_a_value_error(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        json_in(text)


@pytest.mark.parametrize("text", ["a = " + "[" * 100_000, "nonsense", "a = 1e"])
def test_what_is_no_toml_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        toml_in(text)


def test_what_they_say_is_returned() -> None:
    assert json_in(b'{"a": [1]}') == {"a": [1]}
    assert toml_in("a = [1]") == {"a": [1]}


def test_rules_too_deep_to_be_read_are_a_configuration_error() -> None:
    with pytest.raises(ConfigurationError, match="too deep"):
        parsed_rules(_DEEP, "json")


def test_a_history_that_can_be_read_and_is_too_deep_to_be_gone_through(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text('{"messages": ' + "[" * 600 + '"\\ud800"' + "]" * 600 + "}")
    with pytest.raises(HistoryUnreadable):
        list(read_history(path, HistoryFormat.TELEGRAM))


def test_a_configuration_too_deep_to_be_read_names_its_file(tmp_path: Path) -> None:
    path = tmp_path / "sessions.json"
    path.write_text(_DEEP)
    with pytest.raises(ConfigurationError, match=r"sessions\.json is not JSON"):
        ConfigManager(path, environment={}).load()
