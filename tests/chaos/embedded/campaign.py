"""A campaign of the embedded mode: one fault, brought about again and again in one arena, and judged at the end."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from tests.chaos.campaign import Result, campaign, noting
from tests.chaos.embedded.arena import EmbeddedArena, embedded_arena
from tests.chaos.embedded.faults import EmbeddedFault, embedded_fault_named
from tests.chaos.embedded.mutants import EmbeddedMutant
from tests.chaos.mutation import Trial
from tests.chaos.system.evidence import keep_evidence

REVEALED_BY: Final = {EmbeddedMutant.APPEND_FIRST: "sqlite_kill_after_append"}
"""The fault that shows what each mechanism is for."""


async def run_embedded(
    fault: EmbeddedFault, *, repeats: int, seed: int, env: Mapping[str, str] | None = None, keep: bool = False
) -> Result:
    """Bring `fault` about `repeats` times and judge; the evidence is kept if something is wrong, or asked for."""
    layout = replace(fault.layout, env={**fault.layout.env, **(env or {})})
    with campaign(fault.name, fault.counted_from, seed, keep=keep) as (result, folder):
        async with embedded_arena(layout, folder, f"{seed}/{fault.name}") as built:
            with noting(result):
                for _ in range(repeats):
                    result.recoveries += await built.recovered(await fault.inject(built))
                    result.repeats += 1
            result.verdict, evidence = await built.verdict()
            result.longest_wait = max((one.at - one.begun for one in built.calls.done), default=0.0)
            result.problems += _problems(built, fault)
            result.problems += [f"{one.message_id} was parked: {one.reason}" for one in evidence.parked][:5]
            if keep or not result.good:
                keep_evidence(folder, evidence, result.verdict)
    return result


async def try_embedded_mutant(mutant: EmbeddedMutant, *, seed: int) -> Trial:
    """Run the fault that shows what a mechanism is for, without it."""
    fault = embedded_fault_named(REVEALED_BY[mutant])
    result = await run_embedded(fault, repeats=1, seed=seed, env={"CHAOS_MUTANT": mutant})
    return Trial.of(mutant, result, result.seconds)


def _problems(built: EmbeddedArena, fault: EmbeddedFault) -> list[str]:
    """Return what is wrong with how calls ended, and with what was said."""
    problems = [*built.calls.problems[:5], *built.problems[:5]]
    if fault.expects and not fault.expects & built.calls.failures.keys():
        problems.append(f"no call ended with {' or '.join(sorted(fault.expects))}: was there a fault?")
    if fault.layout.terms.cancelled and not built.calls.failures["cancelled"]:
        problems.append("no call was cancelled")
    if fault.says and not any(program.said(fault.says) for program in built.programs.all):
        problems.append(f"nobody said {fault.says}")
    return problems
