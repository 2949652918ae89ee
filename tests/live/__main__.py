"""`python -m tests.live`: 5,000 clients follow events of one process, which is killed; each gets each event once."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from rich.table import Table

from tests.harness import program
from tests.harness.results import write_results
from tests.live.run import QUICK, Size, run

RESULTS: Final = Path(__file__).parent / "results"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; return 0 if each client got each of its events once, in order."""
    parser = program.parser("live", __doc__, quick=f"{QUICK.sessions} clients, {QUICK.seconds:g} s")
    asked = parser.parse_args(arguments)
    program.quieten()
    size = QUICK if asked.quick else Size()
    figures = run(size)
    judged = judge(figures)
    program.screen().print(table(figures))
    path = write_results(RESULTS / f"{size.sessions}.json", judged | {"figures": figures})
    program.say(f"results in {path}")
    program.tell(judged | {"kib_per_client": figures["kib_per_client"], "clients": figures["crowd"]["clients"]})
    return 0 if all(judged.values()) else 1


def judge(figures: Mapping[str, Any]) -> dict[str, bool]:
    """Return what has to be so, and whether it is."""
    crowd, journal, size = figures["crowd"], figures["journal"], figures["size"]
    clients = size["sessions"] + size["everything"]
    return {
        "all_connected": figures["connected"] == crowd["clients"] == clients,
        "each_event": crowd["right"] == clients and crowd["short"] == 0,
        "once": crowd["repeats"] == 0 and journal["twice"] == 0,
        "in_order": crowd["gaps"] == 0,
        "in_the_journal": journal["missing"] == 0,
        "came_back": crowd["came_back"] == clients,
    }


_ROWS: Final[Mapping[str, Callable[[Mapping[str, Any]], Any]]] = {
    "clients of one session each": lambda it: it["size"]["sessions"],
    "clients of everything": lambda it: it["size"]["everything"],
    "all connected after s": lambda it: it["connected_s"],
    "MB of the process before, with all connected, at the end": lambda it: (
        f"{it['mb_before']}, {it['mb_connected']}, {it['mb_at_the_end']}"
    ),
    "KiB a client": lambda it: it["kib_per_client"],
    "messages, a second": lambda it: f"{it['said']:,}, {it['rate']}",
    "nobody listened for s": lambda it: it["back_after_s"],
    "events told": lambda it: f"{it['crowd']['events']:,}",
    "connections, refused": lambda it: f"{it['crowd']['connections']:,}, {it['crowd']['refusals']:,}",
    "right, of": lambda it: f"{it['crowd']['right']:,} of {it['crowd']['clients']:,}",
    "repeats, gaps": lambda it: f"{it['crowd']['repeats']}, {it['crowd']['gaps']}",
    "before the kill, from publishing to the client, ms: p50, p99, longest": lambda it: (
        f"{it['crowd']['p50_ms']}, {it['crowd']['p99_ms']}, {it['crowd']['max_ms']}"
    ),
    "pages of the journal, commits": lambda it: f"{it['journal']['pages']:,}, {it['journal']['commits']:,}",
}


def table(figures: Mapping[str, Any]) -> Table:
    """Return a row for each figure."""
    shown = Table("", "", title="Following events by server-sent events, a kill -9 in the middle")
    for name, figure in _ROWS.items():
        shown.add_row(name, str(figure(figures)))
    return shown


if __name__ == "__main__":
    program.run(main)
