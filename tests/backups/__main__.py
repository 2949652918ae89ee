"""`python -m tests.backups`: back up sessions while messages come in; tell times, bytes, memory and digests."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Final

from rich.table import Table

from agentbus.contracts.backup import BackupFormat
from tests.backups.run import Figures, run
from tests.harness import program
from tests.harness.results import write_results

RESULTS: Final = Path(__file__).parent / "results"
WHOLE: Final = 100_000
"""Sessions of a whole run."""
FLAT: Final = 1.2
"""How many times as much memory ten times as many sessions may take."""
SHARE: Final = 0.05
"""What an incremental backup may take of a full one, after one session of a hundred was changed."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Back up few sessions, then ten times as many; return 0 if all is as it has to be."""
    parser = program.parser("backups", __doc__, quick="1,000 sessions")
    parser.add_argument("--sessions", type=program.at_least_one, default=WHOLE, help="how many, and a tenth of them")
    parser.add_argument("--format", type=BackupFormat, default=BackupFormat.JSON, help="of the backups (%(default)s)")
    asked = parser.parse_args(arguments)
    program.quieten()
    runs: list[Figures] = []
    most = 1_000 if asked.quick else asked.sessions
    for sessions in (max(1, most // 10), most):
        with tempfile.TemporaryDirectory() as folder:
            runs.append(run(Path(folder), sessions, asked.format))
        program.say(f"{sessions} sessions: {runs[-1].full.seconds} s, {runs[-1].full.peak_mb} MB")
    few, many = runs
    program.screen().print(table(few, many))
    told = judged(few, many)
    if most < WHOLE:
        del told["quick"]  # Starting the program takes longer than what it does.
    kept = [asdict(one) for one in runs]
    for one in kept:
        one["restored"]["told"].pop("sessions")  # what became of each of the first 1,000
    path = write_results(RESULTS / f"{many.sessions}.json", told | {"runs": kept})
    program.say(f"results in {path}")
    program.tell(told | {"sessions": many.sessions, "messages": many.messages})
    return 0 if all(told.values()) else 1


def judged(few: Figures, many: Figures) -> dict[str, bool]:
    """Return what has to be so, and whether it is."""
    return {
        "same": few.same and many.same,
        "flat": many.full.peak_mb <= FLAT * few.full.peak_mb and many.restored.peak_mb <= FLAT * few.restored.peak_mb,
        "small": many.bytes_share < SHARE,
        "quick": many.time_share < SHARE and many.processor_share < SHARE,
        "killed_and_gone_on_with": few.killed_once and many.killed_once,
        "verified": not many.verified.told["items"],
    }


_ROWS: Final[Sequence[tuple[str, Callable[[Figures], str]]]] = (
    ("full: s", lambda it: f"{it.full.seconds:.1f}"),
    ("seconds of a processor", lambda it: f"{it.full.processor:.1f}"),
    ("messages a second", lambda it: f"{it.messages / it.full.seconds:,.0f}"),
    ("messages that came in meanwhile", lambda it: f"{it.came_in:,}"),
    ("MB written", lambda it: f"{it.full.told['written'] / 1e6:,.1f}"),
    ("peak MB of memory", lambda it: f"{it.full.peak_mb:.0f}"),
    ("1 % changed: s", lambda it: f"{it.incremental.seconds:.1f} ({it.time_share:.1%})"),
    ("seconds of a processor", lambda it: f"{it.incremental.processor:.1f} ({it.processor_share:.1%})"),
    ("MB written", lambda it: f"{it.incremental.told['written'] / 1e6:,.2f} ({it.bytes_share:.1%})"),
    ("peak MB of memory", lambda it: f"{it.incremental.peak_mb:.0f}"),
    ("verified: s", lambda it: f"{it.verified.seconds:.1f}"),
    ("killed and gone on with: s", lambda it: f"{it.resumed.seconds:.1f}" if it.killed_once else "not killed"),
    ("restored, killed halfway: s", lambda it: f"{it.restored.seconds:.1f}"),
    ("seconds of a processor", lambda it: f"{it.restored.processor:.1f}"),
    ("peak MB of memory", lambda it: f"{it.restored.peak_mb:.0f}"),
    ("digests", lambda it: "the same" if it.same else "others"),
)


def table(few: Figures, many: Figures) -> Table:
    """Return a row for each figure."""
    shown = Table("", title="agentbus backup create")
    for one in (few, many):
        shown.add_column(f"{one.sessions:,} sessions, {one.messages:,} messages", justify="right")
    for name, figure in _ROWS:
        shown.add_row(name, *(figure(one) for one in (few, many)))
    return shown


if __name__ == "__main__":
    program.run(main)
