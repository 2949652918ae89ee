"""The part of a session system that ends sessions by rules."""

from collections.abc import Awaitable, Callable

from agentbus.sessions.manager import SessionManager
from contracts.errors import FeatureNotEnabled
from contracts.expiry import ExpiryRule
from workers.expiry.rules import ExpiryRules
from workers.expiry.statistics import ExpiryStatistics, StatisticsRecorder
from workers.expiry.sweep import Finding, Sweep
from workers.notify import NotificationCallback


class Expiring(SessionManager):
    """Rules, what they did, and who is told. All calls but `add_notification_callback` need `enable_expiry`."""

    _told: list[NotificationCallback]
    _make_sweep: Callable[[], Awaitable[Sweep]] | None = None

    async def add_expiry_rule(self, rule: ExpiryRule) -> None:
        """Keep a rule, in place of the one of the same id; it is in force some seconds later, for all sessions."""
        await self._rules.add(rule)

    async def remove_expiry_rule(self, rule_id: str) -> bool:
        """Take a rule away; return whether there was one. What it did to sessions stays done."""
        return await self._rules.remove(rule_id)

    async def enable_expiry_rule(self, rule_id: str, enabled: bool = True) -> bool:
        """Switch a rule on or off; return whether there is one."""
        return await self._rules.enable(rule_id, enabled)

    async def list_expiry_rules(self) -> tuple[ExpiryRule, ...]:
        """Return the rules, the highest priority first."""
        return await self._rules.list()

    async def get_expiry_statistics(self) -> ExpiryStatistics:
        """Return how often each rule did what, since it was first there; a step is counted once."""
        self._check_expiry()
        return await StatisticsRecorder(self._store, self._clock).statistics()

    def add_notification_callback(self, callback: NotificationCallback) -> None:
        """Tell `callback` of each step that a rule takes, from the next start of the system on.

        It may be told more than once, with the same `notice_id`.
        """
        self._told.append(callback)

    async def _sweep(self, *, dry_run: bool) -> list[Finding]:
        """Look at all sessions; return what is due by rules, or was and what came of it."""
        if self._make_sweep is None:
            return []
        sweep = await self._make_sweep()
        found = [one async for one in sweep.run(dry_run=dry_run) if isinstance(one, Finding)]
        return [one for one in found if one.rule_id is not None]

    def _check_expiry(self) -> None:
        if self._make_sweep is None:
            raise FeatureNotEnabled("expiry is not running: start the system with enable_expiry=True")

    @property
    def _rules(self) -> ExpiryRules:
        self._check_expiry()
        return ExpiryRules(self._store, self._clock)
