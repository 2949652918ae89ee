"""Log lines tell failures by `told`: no traceback, no `repr` of an error, whatever structlog is set up to show."""

import ast
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[2]
_LOUD = {"exception"}
_FILES = [
    file
    for package in ("contracts", "storage", "workers", "agentbus")
    for file in sorted((_ROOT / package).rglob("*.py"))
]


def shown(source: str) -> list[int]:
    """Return the lines of calls to a logger that show an exception whole."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id in ("_log", "log", "logger", "_logger")
        and (node.func.attr in _LOUD or any(_is_whole(keyword) for keyword in node.keywords))
    ]


def _is_whole(keyword: ast.keyword) -> bool:
    if keyword.arg in ("exc_info", "stack_info"):
        return True
    value = keyword.value
    return isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id in ("repr", "format_exc")


def test_no_line_shows_an_exception_whole() -> None:
    found = {str(file.relative_to(_ROOT)): shown(file.read_text("utf-8")) for file in _FILES}
    assert len(found) > 300
    assert {file: lines for file, lines in found.items() if lines} == {}


@pytest.mark.parametrize(
    "line", ["_log.exception('x')", "_log.error('x', exc_info=True)", "_log.error('x', error=repr(error))"]
)
def test_such_a_line_would_be_found(line: str) -> None:
    assert shown(line) == [1]
