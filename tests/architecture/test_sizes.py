"""What is too long to be understood at once is looked at.

Half of our files should be under 150 lines and half of our functions under 10. A file of 400 lines surely has more than
one job; below that a number decides nothing.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[2]
_LONGEST_FILE = 400
_LONGEST_FUNCTION = 50
_FILES = [
    file
    for package in ("contracts", "storage", "workers", "agentbus")
    for file in sorted((_ROOT / package).rglob("*.py"))
]


def _functions(source: str) -> Iterator[tuple[str, int]]:
    """Yield each function's name, and its length in lines with its docstring."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1


@pytest.mark.parametrize("file", _FILES, ids=lambda file: str(file.relative_to(_ROOT)))
def test_a_file_can_be_read_at_once(file: Path) -> None:
    source = file.read_text("utf-8")
    assert len(source.splitlines()) <= _LONGEST_FILE
    assert {name: lines for name, lines in _functions(source) if lines > _LONGEST_FUNCTION} == {}


def test_the_length_of_a_function_is_counted_from_its_name_to_its_end() -> None:
    assert dict(_functions("class A:\n    async def f(self):\n        x = 1\n        return x\n")) == {"f": 3}


def test_all_four_packages_are_looked_at() -> None:
    assert {file.relative_to(_ROOT).parts[0] for file in _FILES} == {"contracts", "storage", "workers", "agentbus"}
