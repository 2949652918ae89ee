"""What the tour came to, for people and for programs."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.tour.run import Outcome


def summary(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return all outcomes as a JSON object."""
    return {
        "names": len({one.name for one in outcomes}),
        "modes": list(dict.fromkeys(one.mode.value for one in outcomes)),
        "failed": sum(not one.ok for one in outcomes),
        "outcomes": [
            {"name": one.name, "mode": one.mode.value, "ok": one.ok, "seconds": round(one.seconds, 4)}
            | ({} if one.ok else {"error": one.error})
            for one in outcomes
        ],
    }


def show(console: Console, outcomes: Sequence[Outcome]) -> None:
    """Print a table of names and modes, and below it what failed."""
    by_key = {(one.name, one.mode): one for one in outcomes}
    modes = list(dict.fromkeys(one.mode for one in outcomes))
    names = list(dict.fromkeys(one.name for one in outcomes))
    table = Table(title="Every public name of agentbus.sessions")
    table.add_column("name", no_wrap=True)
    for mode in modes:
        table.add_column(mode.value)
    for name in names:
        table.add_row(name, *("[green]ok" if by_key[name, mode].ok else "[red]FAILED" for mode in modes))
    console.print(table)
    failed = [one for one in outcomes if not one.ok]
    for one in failed:
        console.print(f"{one.name}, {one.mode.value}: {one.error}", markup=False, soft_wrap=True)
    console.print(f"{len(names)} names in {len(modes)} modes: {len(failed)} failed")
