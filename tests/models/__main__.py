"""`python -m tests.models`: play the session library against its model, and the two workers, for many steps."""

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Sequence
from time import perf_counter
from typing import Final

from tests.harness.program import parser, quieten, run, say, tell
from tests.models.finding import Finding, Model, smallest
from tests.models.library_world import Services
from tests.models.series import SHARES, Played, Tally, World, play_all, worlds_of
from tests.tour.world import Mode, services

TELL_EVERY: Final = 10.0
"""Seconds after which it is told how far it is."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Take the steps; return 0 if there is no finding."""
    options = parser("models", __doc__, seed="the first world's; each has the next one")
    options.add_argument("--model", type=Model, choices=list(Model), help="this one alone")
    options.add_argument("--mode", type=Mode, choices=list(Mode), help="this mode alone")
    options.add_argument("--steps", type=int, default=200_000, help="how many of each model (%(default)s)")
    options.add_argument("--part", type=_part, default=(1, 1), help="such as 2/5: the second of five parts of it")
    options.add_argument("--jobs", type=int, default=_cores(), help="worlds at a time (%(default)s, the cores)")
    options.add_argument("--only", help="these steps of one world alone: play a finding again, of a model and a mode")
    chosen = options.parse_args(arguments)
    models = [chosen.model] if chosen.model else list(Model)
    modes = [chosen.mode] if chosen.mode else list(Mode)
    part, parts = chosen.part
    worlds = worlds_of(models, modes, chosen.steps, chosen.seed)[part - 1 :: parts]
    if chosen.only:
        if not (chosen.model and chosen.mode):
            options.error("--only takes steps of one world: give its --model and --mode")
        worlds = [World(chosen.model, chosen.mode, chosen.seed, [int(one) for one in chosen.only.split(",")])]
    if not worlds or chosen.jobs < 1:
        options.error(
            f"nothing is played so; the modes are { ({str(one): [*map(str, SHARES[one])] for one in models}) }"
        )
    quieten()
    with services({world.mode for world in worlds}) as (broker, stores):
        there = Services(broker, stores.get(Mode.MONGODB))
        return _run(worlds, there, min(chosen.jobs, len(worlds)), whole=bool(chosen.only))


def _part(text: str) -> tuple[int, int]:
    """Return which part of how many is meant. Raises ValueError."""
    part, parts = (int(one) for one in text.split("/"))
    if not 1 <= part <= parts:
        raise ValueError(text)
    return part, parts


def _cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _run(worlds: Sequence[World], there: Services, jobs: int, *, whole: bool) -> int:
    """Play worlds and tell of it, also when that is cut short; findings are shown, and made small unless `whole`."""
    tally, told, asked = Tally(), perf_counter(), Counter[str]()
    for world in worlds:
        asked[world.name] += len(world.steps)
    try:
        for played in play_all(worlds, there, jobs):
            tally.add(played)
            if played.found:
                _show(str(played.found))  # at once: what one play shows another may not, and making it small takes long
                if not whole:
                    _show(f"with fewer steps: {_small(played, played.found, there)}")
            if perf_counter() - told > TELL_EVERY:
                told = perf_counter()
                left = (asked.total() - tally.steps.total()) / max(tally.rate, 0.1) / 60
                say(
                    f"{tally.steps.total()} of {asked.total()} steps, {tally.rate:.0f} a second, "
                    f"{tally.findings} findings, {left:.0f} min left"
                )
    finally:
        _show(" ".join(f"{name}={count}" for name, count in sorted(tally.counts.items())))
        for name, many in sorted(asked.items()):
            _show(f"{name}: {tally.clean[name]} of {many} steps without a finding")
        result = {"steps": tally.steps.total(), "findings": tally.findings, "seconds": round(tally.seconds, 1)}
        tell({**result, "rate": round(tally.rate, 1), "of": dict(sorted(tally.clean.items()))})
    return 1 if tally.findings else 0


def _small(played: Played, found: Finding, there: Services) -> Finding:
    return asyncio.run(smallest(found, played.world.play(there)))


def _show(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    run(main)
