"""The table of an attack."""

from rich.table import Table

from tests.attack.storm.ledger import Fate
from tests.attack.storm.run import Outcome


def ledger_table(outcome: Outcome) -> Table:
    """Return one row for each kind of hostile message."""
    table = Table(title="Hostile messages")
    table.add_column("kind")
    for fate in Fate:
        table.add_column(fate, justify="right")
    for kind, fates in sorted(outcome.ledger.kinds.items()):
        table.add_row(kind, *(str(fates[fate]) for fate in Fate))
    return table
