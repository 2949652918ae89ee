"""Tables and figures of a chaos run."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.chaos.campaign import Result
from tests.chaos.mutation import Trial


def fault_table(results: Sequence[Result]) -> Table:
    """Return one row for each fault."""
    table = Table(title="Faults (times in seconds)")
    table.add_column("fault")
    for heading in ("repeats", "messages", "lost", "duplicated", "reordered", "p50", "max", "longest wait"):
        table.add_column(heading, justify="right")
    table.add_column("recovery counted from")
    table.add_column("")
    for one in results:
        typical, longest = one.recovery
        counts = (one.repeats, one.verdict.messages, one.verdict.lost, one.verdict.duplicated, one.verdict.reordered)
        times = (f"{typical:.2f}", f"{longest:.2f}", f"{one.longest_wait:.2f}")
        table.add_row(one.fault, *map(str, counts), *times, one.counted_from, "held" if one.good else "VIOLATED")
    return table


def mutant_table(trials: Sequence[Trial]) -> Table:
    """Return one row for each mutant."""
    table = Table(title="Mutation check")
    for heading in ("turned off", "fault", "caught", "violated"):
        table.add_column(heading)
    for one in trials:
        table.add_row(one.mutant, one.fault, "caught" if one.caught else "NOT CAUGHT", ", ".join(one.violated))
    return table


def tell_trouble(console: Console, result: Result) -> None:
    """Say what is wrong, where the evidence is, and how to see it again; nothing if no evidence was kept."""
    if result.folder is None:
        return
    console.print(f"\n{result.fault}:")
    for words in result.words():
        console.print(f"  {words}", markup=False, soft_wrap=True)
    console.print(f"  evidence: {result.folder}", soft_wrap=True)
    console.print(f"  again: make chaos FAULT={result.fault} SEED={result.seed}", soft_wrap=True)


def summary(results: Sequence[Result], trials: Sequence[Trial]) -> dict[str, Any]:
    """Return the figures of the last line."""
    return {
        "faults": len(results),
        "repeats": sum(one.repeats for one in results),
        "messages": sum(one.verdict.messages for one in results),
        "lost": sum(one.verdict.lost for one in results),
        "duplicated": sum(one.verdict.duplicated for one in results),
        "reordered": sum(one.verdict.reordered for one in results),
        "mutants": len(trials),
        "mutants_caught": sum(one.caught for one in trials),
        "violated": sorted(one.fault for one in results if not one.good),
    }
