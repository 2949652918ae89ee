"""What a run at low load came to: medians, and how they compare."""

from collections.abc import Callable, Iterable, Sequence
from statistics import median
from typing import Final

from rich.table import Table

from tests.benchmarks.contenders import AGENTBUS1, PLAIN
from tests.benchmarks.low_load.measure import LowLoad, Times
from tests.benchmarks.output.tables import titled

TIMES: Final = ("committed_p50", "committed_p99", "received_p50", "received_p99")
Figures = dict[str, dict[str, dict[str, float]]]
"""By rate and contender: the figures' names and values."""


def figures(runs: Sequence[LowLoad]) -> Figures:
    """Return the medians of all runs: times in ms as `warm_...` and `cold_...`, processor time as `cpu_...`."""
    found: Figures = {}
    for rate in dict.fromkeys(run.rate for run in runs):
        found[str(rate)] = {
            name: _medians([run for run in runs if (run.rate, run.contender) == (rate, name)])
            for name in dict.fromkeys(run.contender for run in runs)
        }
    return found


def ratios(found: Figures) -> dict[str, dict[str, float]]:
    """Return, by rate, each figure of ours over the plain consumer's of the same run."""
    return {
        rate: {name: round(value / of[PLAIN.name][name], 3) for name, value in of[AGENTBUS1.name].items()}
        for rate, of in found.items()
    }


def table(found: Figures) -> Table:
    """Return the table that a person reads."""
    headings = [f"{part} {to} {p}" for part in ("warm", "cold") for to in ("com", "rec") for p in ("p50", "p99")]
    costs = ("worker", "router", "broker", "database")
    made = titled("Low load: ms from publishing to committed and received; CPU ms/msg", "msg/s, who", *headings, *costs)
    for rate, contenders in found.items():
        for name, of in contenders.items():
            times = [f"{of[f'{part}_{time}']:.1f}" for part in ("warm", "cold") for time in TIMES]
            cpu = [f"{of[f'cpu_{what}']:.2f}" if f"cpu_{what}" in of else "" for what in costs]
            made.add_row(f"{rate} {name}", *times, *cpu)
    return made


def _medians(runs: Sequence[LowLoad]) -> dict[str, float]:
    def times(part: str, of: Callable[[LowLoad], Times]) -> Iterable[tuple[str, float]]:
        return ((f"{part}_{name}", median(getattr(of(run), name) for run in runs)) for name in TIMES)

    found = dict(times("warm", lambda run: run.warm)) | dict(times("cold", lambda run: run.cold))
    found |= {f"cpu_{name}": median(run.cpu_ms[name] for run in runs) for name in runs[0].cpu_ms}
    return {name: round(value, 3) for name, value in found.items()}
