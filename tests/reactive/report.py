"""What a run tells: a table, and the figures of the last line."""

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from tests.reactive.trial import Result


def table(results: Sequence[Result]) -> Table:
    """Return one row for each figure of each trial."""
    shown = Table(title="Reactive workers (times in seconds)")
    for heading in ("trial", "figure"):
        shown.add_column(heading)
    shown.add_column("value", justify="right")
    shown.add_column("")
    for one in results:
        held = "held" if one.good else "VIOLATED"
        for number, (name, value) in enumerate(one.figures.items()):
            shown.add_row(*((one.trial, name) if not number else ("", name)), str(value), held if not number else "")
        if not one.figures:
            shown.add_row(one.trial, "", "", held)
        shown.add_section()
    return shown


def summary(results: Sequence[Result], seconds: float) -> dict[str, Any]:
    """Return the figures of the last line."""
    return {
        "trials": len(results),
        "violated": [one.trial for one in results if not one.good],
        "seconds": round(seconds, 1),
        **{one.trial: one.figures for one in results},
    }
