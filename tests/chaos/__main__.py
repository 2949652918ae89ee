"""`python -m tests.chaos`: all faults and all mutants, a table of each, and one JSON object as the last line."""

import argparse
import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tests.chaos.campaign import Result, run_campaign
from tests.chaos.embedded.campaign import run_embedded, try_embedded_mutant
from tests.chaos.embedded.faults import EMBEDDED_FAULTS, EmbeddedFault
from tests.chaos.embedded.mutants import EmbeddedMutant
from tests.chaos.faults import FAULTS, Fault
from tests.chaos.inside.mutants import Mutant
from tests.chaos.mutation import Trial, try_mutant
from tests.chaos.report import fault_table, mutant_table, summary, tell_trouble
from tests.harness.program import parser, part_of, quieten, run, say, screen, some_of, tell
from tests.harness.results import write_results
from tests.harness.system.backends import STORES, Kind, Services

AnyFault = Fault | EmbeddedFault
AnyMutant = Mutant | EmbeddedMutant

_FAULTS: Final[Mapping[str, Sequence[AnyFault]]] = {"distributed": FAULTS, "embedded": EMBEDDED_FAULTS}
_MUTANTS: Final[Mapping[str, Sequence[AnyMutant]]] = {"distributed": list(Mutant), "embedded": list(EmbeddedMutant)}
_QUICK_MUTANTS: Final = (Mutant.LANE_ORDER, Mutant.ACK_LAST, EmbeddedMutant.APPEND_FIRST)
_SETTLE: Final = 10.0
_RESULTS: Final = Path(__file__).parent / "results"


def main() -> int:
    """Run what is asked for; return 0 if every invariant held and every mutant was caught."""
    chosen = _arguments()
    quieten()
    faults = _faults(chosen)
    mutants = _mutants(chosen)
    begun = time.monotonic()
    results: list[Result] = []
    trials: list[Trial] = []

    def figures() -> dict[str, Any]:
        return summary(results, trials) | {"seconds": round(time.monotonic() - begun, 1)}

    def keep() -> Path:
        detail = {"faults": [one.as_dict() for one in results], "mutants": [one.as_dict() for one in trials]}
        told = {"seed": chosen.seed, "summary": figures(), **detail}
        return write_results(_RESULTS / f"{_name(chosen)}.json", told)

    with Services(backend=chosen.backend) as services:
        for fault in faults:
            results.append(asyncio.run(_run_fault(services, fault, chosen)))
            keep()
        for mutant in mutants:
            trials.append(asyncio.run(_run_mutant(services, mutant, chosen.seed)))
            keep()
    console = screen()
    if results:
        console.print(fault_table(results))
    if trials:
        console.print(mutant_table(trials))
    for result in results:
        tell_trouble(console, result)
    console.print(f"{time.monotonic() - begun:.0f} s in total; results in {keep()}", soft_wrap=True)
    tell(figures())
    return 0 if all(one.good for one in results) and all(one.caught for one in trials) else 1


async def _run_fault(services: Services, fault: AnyFault, chosen: argparse.Namespace) -> Result:
    repeats = chosen.repeats or (1 if chosen.quick else fault.repeats)
    if isinstance(fault, EmbeddedFault):
        result = await run_embedded(fault, repeats=repeats, seed=chosen.seed, keep=chosen.keep)
    else:
        settle = None if chosen.quick else _SETTLE
        result = await run_campaign(services, fault, repeats=repeats, seed=chosen.seed, settle=settle, keep=chosen.keep)
    say(f"{fault.name}: {'held' if result.good else 'VIOLATED'} ({result.seconds:.0f} s)")
    for words in result.words()[:3]:
        say(f"  {words}")
    return result


async def _run_mutant(services: Services, mutant: AnyMutant, seed: int) -> Trial:
    if isinstance(mutant, EmbeddedMutant):
        trial = await try_embedded_mutant(mutant, seed=seed)
    else:
        trial = await try_mutant(services, mutant, seed=seed)
    say(f"without {mutant}: {'caught' if trial.caught else 'NOT CAUGHT'} ({trial.seconds:.0f} s)")
    return trial


def _arguments() -> argparse.Namespace:
    asked = parser("chaos", __doc__, quick="a selection, each once", seed="another seed gives another load")
    asked.add_argument("--mode", choices=list(_FAULTS), help="those of one way to run AgentBus alone")
    asked.add_argument("--backend", choices=list(STORES), default="mongodb", help="the store of the distributed way")
    faults = some_of({fault.name: fault for family in _FAULTS.values() for fault in family})
    asked.add_argument("--fault", type=faults, help="these faults alone (commas between them), and no mutant")
    asked.add_argument("--mutants", action="store_true", help="the mutation check alone")
    asked.add_argument(
        "--mutant", choices=[one for all_of_them in _MUTANTS.values() for one in all_of_them], help="this mutant alone"
    )
    asked.add_argument("--repeats", type=int, help="how often each fault is brought about")
    asked.add_argument("--keep", action="store_true", help="keep the evidence even if all is well")
    return asked.parse_args()


def _faults(chosen: argparse.Namespace) -> Sequence[AnyFault]:
    if chosen.mutants or chosen.mutant:
        return ()
    if chosen.fault:
        return list(chosen.fault)
    known = [fault for mode in _modes(chosen) for fault in _FAULTS[mode] if fault.quick or not chosen.quick]
    return known if chosen.backend == "mongodb" else [fault for fault in known if not _of_mongodb(fault)]


def _of_mongodb(fault: AnyFault) -> bool:
    return isinstance(fault, Fault) and fault.layout.kind is Kind.REPLICA_SET


def _mutants(chosen: argparse.Namespace) -> Sequence[AnyMutant]:
    known = [mutant for mode in _modes(chosen) for mutant in _MUTANTS[mode]]
    if chosen.mutant:
        return [mutant for mutant in known if mutant == chosen.mutant]
    if chosen.fault:
        return ()
    return [mutant for mutant in known if mutant in _QUICK_MUTANTS or not chosen.quick]


def _modes(chosen: argparse.Namespace) -> Sequence[str]:
    return [chosen.mode] if chosen.mode else list(_FAULTS)


def _name(chosen: argparse.Namespace) -> str:
    whole = chosen.mutant or ("mutants" if chosen.mutants else chosen.mode or "all")
    part = part_of((fault.name for fault in chosen.fault or ()), whole, quick=chosen.quick)
    return part if chosen.backend == "mongodb" else f"{chosen.backend}-{part}"


if __name__ == "__main__":
    run(main)
