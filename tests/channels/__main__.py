"""`python -m tests.channels`: all channels at once, and a table of what became of it; the last line is JSON."""

import argparse
import asyncio
import time
from dataclasses import asdict, replace
from math import ceil
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Final

from agentbus.contracts.replies import InDoubt
from tests.channels.campaign import campaign
from tests.channels.people import Plan
from tests.channels.report import table_of
from tests.harness.program import parser, part_of, quieten, run, say, screen, tell
from tests.harness.results import write_results
from tests.harness.system.backends import Services
from tests.platforms.catalog import PLATFORMS, POSTING
from tests.platforms.dying import broken_by
from tests.platforms.model import mortal
from tests.platforms.serving import served

_COUNT: Final = 20_000
_EACH: Final = 30
_QUICK: Final = 960
_QUICK_EACH: Final = 10
_QUICK_OUTAGE: Final = 8.0
_QUICK_STILL: Final = 60.0
_DEATHS: Final = 200
_QUICK_DEATHS: Final = 10
_RESULTS: Final = Path(__file__).parent / "results"


def main() -> int:
    """Run what is asked for; return 0 if everything held."""
    chosen = _arguments()
    quieten()
    begun = time.monotonic()
    plan, deaths = _plan(chosen), _QUICK_DEATHS if chosen.quick else _DEATHS
    folder = Path(mkdtemp(prefix="agentbus-channels-"))
    say(f"channels: seed {chosen.seed}; accepted, and then the connection died: {deaths} times for each platform ...")
    broken = asyncio.run(_all_broken(deaths, chosen.seed))
    say(f"channels: {len(broken)} of it did not hold ({time.monotonic() - begun:.0f} s); starting services ...")
    with Services() as services:
        outcome = asyncio.run(campaign(services, plan, folder, say))
    problems = outcome.problems() + broken
    figures = {"seed": chosen.seed, "messages": outcome.reckoning.total["written"]} | outcome.figures()
    figures |= {"deaths": deaths, "deaths_broken": len(broken), "seconds": round(time.monotonic() - begun)}
    detail = {
        "plan": asdict(plan),
        "summary": figures,
        "answers": outcome.answers,
        "cpu_seconds": outcome.cpu_seconds,
        "problems": problems,
    }
    detail |= {"channels": {name: asdict(row) for name, row in outcome.reckoning.rows.items()}}
    path = write_results(_RESULTS / f"{part_of((), chosen.in_doubt, quick=chosen.quick)}.json", detail)
    console = screen()
    console.print(table_of(outcome.reckoning))
    for words in problems:
        console.print(f"  {words}", markup=False, soft_wrap=True)
    if problems:
        console.print(f"  logs: {folder}", soft_wrap=True)
    else:
        rmtree(folder)
    console.print(f"results in {path}", soft_wrap=True)
    tell(figures)
    return 1 if problems else 0


async def _all_broken(deaths: int, seed: int) -> list[str]:
    """Have each platform's connections die so often, over sockets, both ways to go on; return what did not hold."""
    found = []
    for in_doubt in InDoubt:
        platforms = [kind() for kind in PLATFORMS]
        async with served(platforms) as api, mortal() as client:
            for one in platforms:
                at = f"{api}/{one.name}"
                broken = await broken_by(one, in_doubt, deaths=deaths, client=client, api=at, seed=seed)
                found += [f"{one.name}, {in_doubt}: {words}" for words in broken]
    return found


def _plan(chosen: argparse.Namespace) -> Plan:
    each = _QUICK_EACH if chosen.quick else _EACH
    count = chosen.count or (_QUICK if chosen.quick else _COUNT)
    people = ceil(count / each / len(POSTING))
    plan = Plan(people=people, each=each, seed=str(chosen.seed), in_doubt=InDoubt(chosen.in_doubt))
    return replace(plan, outage=_QUICK_OUTAGE, still=_QUICK_STILL, impatient=True) if chosen.quick else plan


def _arguments() -> argparse.Namespace:
    asked = parser("channels", __doc__, quick="fewer messages, in under 3 minutes", seed="another seed, other messages")
    asked.add_argument("--count", type=int, help="so many messages")
    asked.add_argument(
        "--in-doubt", choices=[one.value for one in InDoubt], default="hold", help="as the setting has it"
    )
    return asked.parse_args()


if __name__ == "__main__":
    run(main)
