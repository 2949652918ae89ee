"""Tables and results of an attack."""

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rich.table import Table

from tests.attack.storm.ledger import Fate
from tests.attack.storm.run import Outcome
from tests.chaos.record import machine

RESULTS: Final = Path(__file__).parent / "results"


def ledger_table(outcome: Outcome) -> Table:
    """Return one row for each kind of hostile message."""
    table = Table(title="Hostile messages")
    table.add_column("kind")
    for fate in Fate:
        table.add_column(fate, justify="right")
    for kind, fates in sorted(outcome.ledger.kinds.items()):
        table.add_row(kind, *(str(fates[fate]) for fate in Fate))
    return table


def write_results(name: str, results: Mapping[str, Any]) -> Path:
    """Write the results of a run with when and where it was, and how busy the machine was; return the file."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    told = {"at": datetime.now(UTC).isoformat(timespec="seconds"), "machine": machine() | {"load": os.getloadavg()}}
    path.write_text(json.dumps(told | dict(results), indent=2, default=str) + "\n", "utf-8")
    return path
