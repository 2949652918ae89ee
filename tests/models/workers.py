"""`python -m tests.models.workers`: play the sync and the expiry worker for many steps.

Rules, links and policies change at any time, events come late, shuffled and again, and the workers are killed. At rest
every session is where its rules say, linked sessions agree, and nothing that was deleted can be read.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from time import perf_counter
from typing import Final

from agentbus.logs import configure_logs
from agentbus.settings import LogSettings
from tests.models.workers_moves import Moves
from tests.models.workers_rest import at_long_rest, at_rest
from tests.models.workers_world import a_world

WORLD: Final = 200
"""Steps after which a new world begins."""
REST_EVERY: Final = 25
LONG_REST_EVERY: Final = 100
TRIES: Final = 120
"""How many runs may be spent on making a finding small."""


@dataclass(frozen=True)
class Finding:
    """What was not as it must be."""

    seed: int
    sqlite: bool
    steps: tuple[int, ...]
    said: tuple[str, ...]
    wrong: tuple[str, ...]

    def __str__(self) -> str:
        """Return it for people."""
        only = ",".join(map(str, self.steps))
        again = f"python -m tests.models.workers --seed {self.seed} --only {only}{' --sqlite' if self.sqlite else ''}"
        return "\n".join([f"{len(self.steps)} steps:", *self.said, *self.wrong, again])


async def play(
    seed: int, steps: Sequence[int], *, sqlite: bool = False, counts: Counter[str] | None = None
) -> Finding | None:
    """Take steps in a new world, and rest now and then; return the first finding."""
    with tempfile.TemporaryDirectory() as folder:
        async with a_world(Path(folder), sqlite=sqlite) as world:
            moves = Moves(world)
            taken: list[int] = []
            wrong: list[str] = []
            for number in steps:
                taken.append(number)
                try:
                    await moves.step(seed, number)
                    wrong = await _rest(moves, seed, number, last=number == steps[-1])
                except Exception as error:
                    wrong = ["".join(traceback.format_exception(error))]
                if wrong:
                    break
            if counts is not None:
                counts.update(line.split()[1] for line in moves.said)
                counts["killed"] += world.kills
                counts.update(event.kind for event in world.happened.values())
            return Finding(seed, sqlite, tuple(taken), tuple(moves.said), tuple(wrong)) if wrong else None


async def _rest(moves: Moves, seed: int, number: int, *, last: bool) -> list[str]:
    chance = Random(f"{seed}/rest/{number}")
    if last or number % LONG_REST_EVERY == LONG_REST_EVERY - 1:
        moves.said.append(f"{number}: a long rest")
        return await at_long_rest(moves, chance)
    if number % REST_EVERY == REST_EVERY - 1:
        moves.said.append(f"{number}: a rest")
        return await at_rest(moves, chance)
    return []


async def smallest(found: Finding, *, tries: int = TRIES) -> Finding:
    """Leave out steps for as long as there is a finding without them."""
    size = max(1, len(found.steps) // 2)
    while tries:
        at, smaller = 0, False
        while at < len(found.steps) and tries:
            tries -= 1
            left = found.steps[:at] + found.steps[at + size :]
            if left and (again := await play(found.seed, left, sqlite=found.sqlite)):
                found, smaller = again, True
            else:
                at += size
        if size == 1 and not smaller:
            break
        size = max(1, size // 2)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Take the steps; return 0 if there is no finding."""
    parser = argparse.ArgumentParser(prog="python -m tests.models.workers", description=__doc__)
    parser.add_argument("--steps", type=int, default=200_000, help="how many in all (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="the first world's; each has the next one (%(default)s)")
    parser.add_argument("--sqlite", action="store_true", help="on SQLite alone; otherwise each fifth world is")
    parser.add_argument("--only", help="these steps of one world alone: play a finding again")
    chosen = parser.parse_args(arguments)
    configure_logs(LogSettings(log_level="error"))
    return asyncio.run(_run(chosen))


async def _run(chosen: argparse.Namespace) -> int:
    begun, counts, findings, taken = perf_counter(), Counter[str](), 0, 0
    only = [int(one) for one in chosen.only.split(",")] if chosen.only else None
    for number in range(1 if only else -(-chosen.steps // WORLD)):
        seed = chosen.seed + number
        steps = only or range(min(WORLD, chosen.steps - taken))
        sqlite = chosen.sqlite or (only is None and seed % 5 == 0)
        found = await play(seed, steps, sqlite=sqlite, counts=counts)
        taken += len(found.steps) if found else len(steps)
        if found:
            findings += 1
            _say(str(found if only else await smallest(found)))
    _say(" ".join(f"{name}={count}" for name, count in sorted(counts.items())))
    _say(json.dumps({"steps": taken, "findings": findings, "seconds": round(perf_counter() - begun, 1)}))
    return 1 if findings else 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
