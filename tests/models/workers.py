"""Playing the sync and the expiry worker: steps by seed, and a rest now and then.

Rules, links and policies change at any time, events come late, shuffled and again, and the workers are killed. At rest
every session is where its rules say, linked sessions agree, and nothing that was deleted can be read.
"""

import tempfile
import traceback
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Final

from tests.models.finding import Finding, Model
from tests.models.workers_moves import Moves
from tests.models.workers_rest import at_long_rest, at_rest
from tests.models.workers_world import a_world
from tests.tour.world import Mode

REST_EVERY: Final = 25
LONG_REST_EVERY: Final = 100


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
            if not wrong:
                return None
            mode = Mode.SQLITE if sqlite else Mode.MEMORY
            return Finding(Model.WORKERS, mode, seed, tuple(taken), tuple(moves.said), tuple(wrong))


async def _rest(moves: Moves, seed: int, number: int, *, last: bool) -> list[str]:
    chance = Random(f"{seed}/rest/{number}")
    if last or number % LONG_REST_EVERY == LONG_REST_EVERY - 1:
        moves.said.append(f"{number}: a long rest")
        return await at_long_rest(moves, chance)
    if number % REST_EVERY == REST_EVERY - 1:
        moves.said.append(f"{number}: a rest")
        return await at_rest(moves, chance)
    return []
