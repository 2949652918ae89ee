"""How long our files and functions are: a report of those that are worth a look, not a limit.

A limit makes crumbs: files that were cut to stay below it. Half of our files should be under 150 lines and half of our
functions under 10; of the longest, somebody should say now and then whether they have more than one job.
"""

import argparse
import ast
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Final

from rich.console import Console
from rich.table import Table

ROOT: Final = Path(__file__).resolve().parents[2]
PACKAGES: Final = ("contracts", "storage", "workers", "agentbus")
CRUMB: Final = 20
"""Lines of a file of which one asks whether it says enough to be one."""


@dataclass(frozen=True, slots=True, order=True)
class Size:
    """Something, and its lines with its docstrings."""

    lines: int
    name: str
    """A file's path from the root; for a function, the name after it: `a/b.py:Class.method`."""


@dataclass(frozen=True, slots=True)
class Report:
    """Files and functions, longest first."""

    files: Sequence[Size]
    functions: Sequence[Size]
    crumbs: Sequence[Size]

    @property
    def medians(self) -> tuple[float, float]:
        """Lines of the file, and of the function, in the middle."""
        return median(one.lines for one in self.files), median(one.lines for one in self.functions)


def report_on(files: Iterable[Path], root: Path = ROOT) -> Report:
    """Measure these files, and the functions in them."""
    sources = {str(file.relative_to(root)): file.read_text("utf-8") for file in files}
    lengths = sorted((Size(len(source.splitlines()), name) for name, source in sources.items()), reverse=True)
    functions = [
        Size(lines, f"{name}:{function}")
        for name, source in sources.items()
        for function, lines in _functions(ast.parse(source))
    ]
    crumbs = [one for one in lengths if one.lines <= CRUMB and not one.name.endswith("__init__.py")]
    return Report(lengths, sorted(functions, reverse=True), crumbs)


def our_files() -> list[Path]:
    """Return the files of the four packages."""
    return [file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py"))]


def _functions(node: ast.AST, prefix: str = "") -> Iterator[tuple[str, int]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            name = f"{prefix}{child.name}"
            if not isinstance(child, ast.ClassDef):
                yield name, (child.end_lineno or child.lineno) - child.lineno + 1
            yield from _functions(child, f"{name}.")
        else:
            yield from _functions(child, prefix)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the report."""
    parser = argparse.ArgumentParser(prog="make sizes", description=__doc__)
    parser.add_argument("--most", type=int, default=15, help="how many of each to show (15)")
    parser.add_argument("--json", action="store_true", help="everything, as JSON")
    given = parser.parse_args(arguments)
    report = report_on(our_files())
    if given.json:
        sys.stdout.write(json.dumps(asdict(report), indent=2) + "\n")
        return
    console = Console()
    for title, sizes in (("Files", report.files), ("Functions", report.functions), ("Crumbs", report.crumbs)):
        table = Table("lines", title, box=None)
        for one in sizes[: given.most]:
            table.add_row(str(one.lines), one.name)
        console.print(table)
    files, functions = report.medians
    console.print(f"{len(report.files)} files, in the middle {files:g} lines; functions: {functions:g} lines")


if __name__ == "__main__":
    main()
