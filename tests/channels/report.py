"""The table of a campaign."""

from dataclasses import asdict
from typing import Final

from rich.table import Table

from tests.channels.reckoning import FAULTS, Reckoning, Row

_COLUMNS: Final = {
    "in": "written",
    "refused": "refused",
    "repeats": "repeats",
    "replies": "replies",
    "unknown": "unknown",
    "doubled": "doubled",
}


def table_of(reckoning: Reckoning) -> Table:
    """Return a row for each channel: what came in and went out, and what was lost or came out wrong."""
    table = Table(title="Channels")
    table.add_column("channel")
    for name in (*_COLUMNS, "lost", "wrong"):
        table.add_column(name, justify="right")
    for channel, row in reckoning.rows.items():
        table.add_row(channel, *map(str, _cells(row)))
    return table


def _cells(row: Row) -> list[int]:
    counted = asdict(row)
    lost = row.lost + row.replies_lost
    return [*(counted[name] for name in _COLUMNS.values()), lost, sum(counted[name] for name in FAULTS) - lost]
