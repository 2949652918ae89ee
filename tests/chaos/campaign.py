"""A campaign: one fault, brought about again and again in one arena, and judged at the end."""

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from shutil import rmtree
from statistics import median
from tempfile import mkdtemp
from typing import Any

from agentbus.testing import Evidence, Verdict
from tests.chaos.faults import Fault
from tests.chaos.system.arena import Arena, NotRecovered, arena
from tests.chaos.system.evidence import keep_evidence
from tests.harness.system.backends import Services


@dataclass(slots=True)
class Result:
    """What a campaign came to."""

    fault: str
    counted_from: str
    seed: str
    repeats: int = 0
    verdict: Verdict = field(default_factory=lambda: Verdict(()))
    recoveries: list[float] = field(default_factory=list)
    longest_wait: float = 0.0
    """The most seconds from publishing a message to its event."""
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)
    """What is wrong beside the invariants, or kept the campaign from its end."""
    folder: Path | None = None
    """Where the evidence is, if something is wrong."""

    @property
    def good(self) -> bool:
        """Whether everything held."""
        return not self.problems and self.verdict.held

    @property
    def recovery(self) -> tuple[float, float]:
        """The median and the longest recovery, in seconds."""
        return (median(self.recoveries), max(self.recoveries)) if self.recoveries else (0.0, 0.0)

    def words(self) -> list[str]:
        """Say what is wrong."""
        return self.problems + [
            f"{one.invariant}: {example}" for one in self.verdict.findings for example in one.examples[:2]
        ]

    def as_dict(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        typical, longest = self.recovery
        return {
            "fault": self.fault,
            "seed": self.seed,
            "repeats": self.repeats,
            "recovery_counted_from": self.counted_from,
            "recovery_p50_s": round(typical, 3),
            "recovery_max_s": round(longest, 3),
            "longest_wait_s": round(self.longest_wait, 3),
            "seconds": round(self.seconds, 1),
            "problems": self.problems,
            **self.verdict.as_dict(),
        }


@contextmanager
def campaign(fault: str, counted_from: str, seed: int, *, keep: bool) -> Iterator[tuple[Result, Path]]:
    """Give what a campaign notes in and a folder, which stays if something is wrong, or if it is to be kept."""
    result = Result(fault, counted_from, str(seed))
    folder = Path(mkdtemp(prefix=f"agentbus-chaos-{fault}-"))
    begun = time.monotonic()
    with noting(result):
        yield result, folder
    result.seconds = time.monotonic() - begun
    if keep or not result.good:
        result.folder = folder
    else:
        rmtree(folder)


async def run_campaign(
    services: Services,
    fault: Fault,
    *,
    repeats: int,
    seed: int,
    settle: float | None = None,
    env: Mapping[str, str] | None = None,
    keep: bool = False,
) -> Result:
    """Bring `fault` about `repeats` times and judge; the evidence is kept if something is wrong, or asked for."""
    layout = replace(fault.layout, env={**fault.layout.env, **(env or {})})
    with campaign(fault.name, fault.counted_from, seed, keep=keep) as (result, folder):
        async with arena(services, layout, folder, f"{seed}/{fault.name}") as built:
            with noting(result):
                await built.balanced()
                await built.fleet.revive(on=fault.revived)
                await _repeat(built, fault, repeats, result)
            await built.fleet.revive(on=False)
            result.verdict, evidence = await built.verdict(settle=settle)
            result.longest_wait = _longest_wait(built)
            result.problems += _wrongly_parked(built, evidence)
            if keep or not result.good:
                keep_evidence(folder, evidence, result.verdict)
    return result


async def _repeat(built: Arena, fault: Fault, repeats: int, result: Result) -> None:
    for number in range(1, repeats + 1):
        injection = await fault.inject(built)
        result.recoveries += await built.recovered(injection)
        result.repeats += 1
        if not fault.revived and number < repeats:
            await built.fill_up()
            await built.balanced()
        await asyncio.sleep(built.random.uniform(0.2, 1.0) * fault.rest)


@contextmanager
def noting(result: Result) -> Iterator[None]:
    """Turn what ends a campaign early into a problem: the other faults are still to be tried."""
    try:
        yield
    except NotRecovered as error:
        result.problems.append(str(error))
    except Exception as error:
        result.problems.append(f"the campaign failed: {error!r}")


def _longest_wait(built: Arena) -> float:
    seen: set[str] = set()
    longest = 0.0
    for event, at in zip(built.recorder.events, built.recorder.times, strict=True):
        published = built.load.first_at.get((event.partitionkey, event.data.cause))
        if event.id not in seen and published is not None:
            longest = max(longest, at - published)
        seen.add(event.id)
    return longest


def _wrongly_parked(built: Arena, evidence: Evidence) -> list[str]:
    parked = {one.message_id for one in evidence.parked}
    problems = [
        f"{one.message_id} was parked: {one.reason}" for one in evidence.parked if one.message_id not in built.poison
    ]
    return problems[:5] + [f"poison {input_id} was not parked" for input_id in sorted(built.poison - parked)]
