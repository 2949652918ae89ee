"""What the appends came to: on the screen, as figures, and in the documentation."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from rich.table import Table

from tests.benchmarks.appends.measure import LIMIT, Costs, growth, medians
from tests.harness.processes import ROOT

RESULTS: Final = Path(__file__).parents[1] / "results" / "appends.json"
PAGE: Final = ROOT / "docs" / "stores.md"

_BEGIN: Final = "<!-- appends -->\n"
_END: Final = "<!-- /appends -->"


def figures(costs: Costs) -> dict[str, Any]:
    """Return the medians, in ms, and how much dearer a message of the longest history is than one of the shortest."""
    return {
        "limit": LIMIT,
        "append_ms": {
            kind: {str(length): round(ms, 4) for length, ms in of.items()} for kind, of in medians(costs).items()
        },
        "growth": {kind: round(growth(of), 3) for kind, of in costs.items()},
    }


def table(found: Mapping[str, Any], versions: Mapping[str, str]) -> Table:
    """Return figures as a table for the screen."""
    header, *rows = _rows(found, versions)
    shown = Table(title=f"ms per message: a commit and its head (growth: at most {LIMIT:g})")
    for heading in header:
        shown.add_column(heading, justify="left" if heading == "store" else "right")
    for row in rows:
        shown.add_row(*row)
    return shown


def in_markdown(found: Mapping[str, Any], versions: Mapping[str, str]) -> str:
    """Return figures as a table for the documentation."""
    header, *rows = _rows(found, versions)
    return "".join(f"| {' | '.join(row)} |\n" for row in (header, ["---"] * len(header), *rows))


def put_into_docs(markdown: str, page: Path) -> None:
    """Put a table where the page keeps it."""
    before, begin, rest = page.read_text("utf-8").partition(_BEGIN)
    _, end, after = rest.partition(_END)
    assert begin
    assert end
    page.write_text(f"{before}{begin}{markdown}{end}{after}", "utf-8")


def _rows(found: Mapping[str, Any], versions: Mapping[str, str]) -> list[list[str]]:
    costs: Mapping[str, Mapping[str, float]] = found["append_ms"]
    lengths = list(next(iter(costs.values())))
    header = ["store", *(f"{int(length):,} messages" for length in lengths), "growth"]
    return [header] + [
        [f"{kind} {versions[kind]}", *(f"{of[length]:.3g}" for length in lengths), f"{found['growth'][kind]:.2f}"]
        for kind, of in costs.items()
    ]
