"""What the checker decides: one finding for each invariant, and the figures that sum them up."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

from rich.table import Table

_SHOWN: Final = 5


class Invariant(StrEnum):
    """What AgentBus promises, whatever fails."""

    COMMITTED_ONCE = "committed once"
    """Every confirmed input is committed exactly once, or parked; an unconfirmed one at most once."""
    ORDER = "order"
    """The inputs of a conversation are committed in the order in which they were published."""
    LOG = "log"
    """A conversation's versions and its sessions' event numbers have no gaps, and epochs never fall."""
    ANNOUNCED = "announced"
    """Each committed event is announced at least once, under its own id, first announcements in order."""
    ONE_OWNER = "one owner"
    """No two workers handle a conversation at a time outside a zombie window, and none has an effect twice inside."""
    BALANCE = "balance"
    """Some seconds after a change, numbers of partitions differ by at most one, and each has one owner."""
    EMPTY = "empty"
    """At the end queues are empty and nothing is unacknowledged."""


class Outcome(StrEnum):
    """What became of an invariant."""

    HELD = "held"
    """Everything that was looked at kept it."""
    VIOLATED = "violated"
    """Something broke it."""
    UNCHECKED = "not checked"
    """There was nothing to look at."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Whether an invariant held: how much was looked at, how much broke it, and the first few cases in words."""

    invariant: Invariant
    checked: int
    violations: int = 0
    examples: tuple[str, ...] = ()

    @property
    def outcome(self) -> Outcome:
        """Held or violated, or not checked for want of evidence."""
        if self.violations:
            return Outcome.VIOLATED
        return Outcome.HELD if self.checked else Outcome.UNCHECKED


def finding(invariant: Invariant, checked: int, violations: Iterable[str]) -> Finding:
    """Count `violations` and keep the first few."""
    found = list(violations)
    return Finding(invariant, checked, len(found), tuple(found[:_SHOWN]))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a run came to."""

    findings: tuple[Finding, ...]
    messages: int = 0
    """Distinct inputs published."""
    conversations: int = 0
    committed: int = 0
    parked: int = 0
    lost: int = 0
    """Confirmed, and neither committed nor parked."""
    duplicated: int = 0
    """Commits of an input beyond its first."""
    reordered: int = 0
    """Inputs committed after one of the same conversation that was published later."""

    @property
    def held(self) -> bool:
        """Whether no invariant was violated."""
        return not self.violated

    @property
    def violated(self) -> tuple[Invariant, ...]:
        """The invariants that were violated."""
        return tuple(one.invariant for one in self.findings if one.outcome is Outcome.VIOLATED)

    def finding(self, invariant: Invariant) -> Finding:
        """Return what was found about one invariant."""
        return next(one for one in self.findings if one.invariant is invariant)

    def as_dict(self) -> dict[str, Any]:
        """Return the verdict as JSON values."""
        findings = [{**asdict(one), "outcome": one.outcome} for one in self.findings]
        return {**asdict(self), "findings": findings, "held": self.held}

    def as_table(self) -> Table:
        """Return the verdict as a table for people."""
        table = Table(
            title=f"{self.messages} messages in {self.conversations} conversations: "
            f"lost {self.lost}, duplicated {self.duplicated}, reordered {self.reordered}"
        )
        for heading in ("invariant", "outcome", "checked", "violations", "for example"):
            table.add_column(heading, justify="right" if heading in {"checked", "violations"} else "left")
        for one in self.findings:
            shown = "\n".join(one.examples)
            table.add_row(one.invariant, one.outcome, str(one.checked), str(one.violations), shown)
        return table
