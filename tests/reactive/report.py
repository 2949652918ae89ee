"""What a run tells: a table, a file, and the figures of the last line."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rich.table import Table

from tests.chaos.record import machine
from tests.reactive.trial import Result

RESULTS: Final = Path(__file__).parent / "results"


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


def write_results(name: str, results: Mapping[str, Any]) -> Path:
    """Write the results of a run with when and where it was; return the file."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    told = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine(), **results}
    path.write_text(json.dumps(told, indent=2) + "\n", "utf-8")
    return path
