"""What a run showed, as a table and as figures."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.harness.figures import milliseconds, percentile
from tests.stress.ledger import Ledger, Timed
from tests.stress.world import Plan

_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Report:
    """A run that is over."""

    plan: Plan
    seconds: float
    """How long users made calls."""
    sessions: int
    """How many there were, those that were deleted included."""
    ledger: Ledger

    @property
    def good(self) -> bool:
        """Whether nothing was broken."""
        return not self.ledger.breaches

    def figures(self) -> dict[str, Any]:
        """Return what matters, for programs."""
        calls, over = self.ledger.calls, self.ledger.over_the_kill()
        return {
            "good": self.good,
            "seconds": round(self.seconds, 1),
            "users": self.plan.users,
            "sessions": self.sessions,
            "seed": self.plan.seed,
            **_row(calls),
            "calls_per_second": round(len(calls) / self.seconds, 1),
            "longest_wait_over_the_kill_ms": milliseconds(max((one.seconds for one in over), default=0.0)),
            "breaches": dict(self.ledger.breaches),
        }

    def show(self, console: Console) -> None:
        """Print the table, what was broken, and the verdict."""
        kinds = sorted({one.kind for one in self.ledger.calls})
        table = Table(title=f"{self.plan.users} users, {self.sessions} sessions, {self.seconds:.0f} s (times in ms)")
        table.add_column("call")
        for heading in ("calls", "done", "refused", "made again", "p50", "p99", "longest"):
            table.add_column(heading, justify="right")
        for kind in kinds:
            _add(table, kind, [one for one in self.ledger.calls if one.kind == kind])
        table.add_section()
        _add(table, "all", self.ledger.calls)
        if over := self.ledger.over_the_kill():
            _add(table, "over the kill", over)
        console.print(table)
        for what in self.ledger.broken[:_SHOWN]:
            console.print(f"  {what}", markup=False, highlight=False, soft_wrap=True)
        rules = ", ".join(f"{rule} ({count})" for rule, count in sorted(self.ledger.breaches.items()))
        per_second = len(self.ledger.calls) / self.seconds
        verdict = "HELD: no confirmed effect is missing, no rule was broken" if self.good else f"BROKEN: {rules}"
        console.print(f"{per_second:,.0f} calls/s, seed {self.plan.seed}. {verdict}", soft_wrap=True)


def _row(calls: Sequence[Timed]) -> dict[str, Any]:
    seconds = [one.seconds for one in calls] or [0.0]
    return {
        "calls": len(calls),
        "done": sum(one.answer == "done" for one in calls),
        "refused": sum(one.answer != "done" for one in calls),
        "made_again": sum(one.retries > 0 for one in calls),
        "p50_ms": milliseconds(percentile(seconds, 50)),
        "p99_ms": milliseconds(percentile(seconds, 99)),
        "longest_ms": milliseconds(max(seconds)),
    }


def _add(table: Table, name: str, calls: Sequence[Timed]) -> None:
    table.add_row(name, *(f"{value:,}" for value in _row(calls).values()))
