"""The expiry rules, what is due by them, and what they did."""

from collections.abc import AsyncGenerator, Iterable
from typing import Final

from agentbus.composition.app import App, make_clock
from agentbus.composition.workers import make_sweep
from agentbus.contracts.errors import ConfigurationError
from agentbus.contracts.expiry import ExpiryRule
from agentbus.storage.port import Store
from agentbus.workers.domain.expiry.documents import parsed_rules
from agentbus.workers.expiry.rules import ExpiryRules
from agentbus.workers.expiry.statistics import ExpiryStatistics, Outcome, StatisticsRecorder
from agentbus.workers.expiry.sweep import Finding, Progress, SweepOutcome

__all__ = [
    "OUTCOMES", "ExpiryStatistics", "Finding", "Progress", "RuleNotFound", "SweepOutcome", "add_rules", "enable_rule",
    "list_rules", "parsed_rules", "remove_rule", "rule_statistics", "sweep",
]  # fmt: skip

OUTCOMES: Final = tuple(outcome.value for outcome in Outcome)
"""What may become of a session by a rule: what statistics are counted by."""


class RuleNotFound(ConfigurationError):
    """There is no such expiry rule."""


async def list_rules(store: Store) -> tuple[ExpiryRule, ...]:
    """Return the rules, the highest priority first. Raises ConfigurationError for one that can't be read."""
    return await ExpiryRules(store, make_clock()).list()


async def add_rules(store: Store, rules: Iterable[ExpiryRule]) -> None:
    """Add rules, such as `parsed_rules` reads from a document, each in place of the one of the same id.

    The same rule again is no change. Raises StoreError.
    """
    kept = ExpiryRules(store, make_clock())
    for rule in rules:
        await kept.add(rule)


async def remove_rule(store: Store, rule_id: str) -> None:
    """Take a rule away; what it did to sessions stays done. Raises RuleNotFound, StoreError."""
    if not await ExpiryRules(store, make_clock()).remove(rule_id):
        raise _no_such(rule_id)


async def enable_rule(store: Store, rule_id: str, *, enabled: bool = True) -> None:
    """Switch a rule on or off; it stays in the list. Raises RuleNotFound, StoreError."""
    if not await ExpiryRules(store, make_clock()).enable(rule_id, enabled):
        raise _no_such(rule_id)


async def sweep(app: App, *, dry_run: bool) -> AsyncGenerator[Finding | Progress, None]:
    """Look at all sessions once; yield what is due, or with `dry_run` off what came of it, and how far this is.

    Session workers must run, unless it is a dry run. Raises ConfigurationError for rules that can't be read.
    """
    async for found in (await make_sweep(app)).run(dry_run=dry_run):
        yield found


async def rule_statistics(store: Store) -> ExpiryStatistics:
    """Return how often each rule did what, since it was first there. Raises StoreError."""
    return await StatisticsRecorder(store, make_clock()).statistics()


def _no_such(rule_id: str) -> RuleNotFound:
    return RuleNotFound(f"there is no expiry rule {rule_id!r}; see: agentbus expiry rules list")
