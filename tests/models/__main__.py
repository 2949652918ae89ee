"""`python -m tests.models`: play the session library against its model for many steps."""

import argparse
import asyncio
import json
import sys
from collections import Counter
from collections.abc import Sequence
from time import perf_counter

from agentbus.logs import configure_logs
from agentbus.settings import LogSettings
from tests.models.library_run import play, smallest
from tests.models.library_world import Services
from tests.processes import exit_on_sigterm
from tests.tour.world import Mode, services

WORLD = 500
"""Steps after which a new world begins."""

SHARE = {Mode.MEMORY: 50, Mode.FILES: 15, Mode.SQLITE: 15, Mode.MONGODB: 10, Mode.DISTRIBUTED: 10}
"""Of a hundred steps, how many are in which mode."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Take the steps; return 0 if there is no finding."""
    parser = argparse.ArgumentParser(prog="python -m tests.models", description=__doc__)
    parser.add_argument("--steps", type=int, default=200_000, help="how many in all (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="the first world's; each has the next one (%(default)s)")
    parser.add_argument("--mode", type=Mode, choices=list(Mode), help="this mode alone")
    parser.add_argument("--only", help="these steps of one world alone: play a finding again")
    chosen = parser.parse_args(arguments)
    configure_logs(LogSettings(log_level="error"))
    modes = [chosen.mode] if chosen.mode else list(Mode)
    with services(set(modes)) as (broker, mongo):
        return asyncio.run(_run(chosen, modes, Services(broker, mongo)))


async def _run(chosen: argparse.Namespace, modes: Sequence[Mode], there: Services) -> int:
    begun, counts, findings, taken = perf_counter(), Counter[str](), 0, 0
    worlds = _worlds(chosen.steps, chosen.seed, modes)
    if chosen.only:
        worlds = [(mode, chosen.seed, [int(one) for one in chosen.only.split(",")]) for mode in modes]
    for mode, seed, steps in worlds:
        found = await play(mode, seed, steps, there, counts)
        taken += len(found.steps) if found else len(steps)
        if found:
            findings += 1
            _say(str(found if chosen.only else await smallest(found, there)))
        _say(f"{mode} {seed}: {taken} steps, {findings} findings, {perf_counter() - begun:.0f} s")
    _say(" ".join(f"{name}={count}" for name, count in sorted(counts.items())))
    result = {"steps": taken, "findings": findings, "seconds": round(perf_counter() - begun, 1)}
    sys.stdout.write(json.dumps({**result, "modes": [str(mode) for mode in modes]}) + "\n")
    return 1 if findings else 0


def _worlds(steps: int, seed: int, modes: Sequence[Mode]) -> list[tuple[Mode, int, Sequence[int]]]:
    """Return the worlds of a run: mode, seed, and steps in it."""
    whole = sum(SHARE[mode] for mode in modes)
    found: list[tuple[Mode, int, Sequence[int]]] = []
    for mode in modes:
        left = -(-steps * SHARE[mode] // whole)
        while left > 0:
            found.append((mode, seed + len(found), range(min(WORLD, left))))
            left -= WORLD
    return found


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    exit_on_sigterm()
    sys.exit(main())
