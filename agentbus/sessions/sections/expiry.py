"""Expiry: rules that end sessions, and what they did."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from agentbus.contracts.clock import Clock
from agentbus.contracts.expiry import ExpiryRule
from agentbus.sessions.engine import Engine
from agentbus.workers.expiry.rules import ExpiryRules
from agentbus.workers.expiry.statistics import ExpiryStatistics, StatisticsRecorder

if TYPE_CHECKING:
    from agentbus.workers.expiry.sweep import Finding, Sweep


class Expiry:
    """The rules, and a look at all sessions by them."""

    def __init__(self, engine: Engine, make_sweep: "Callable[[], Awaitable[Sweep]]", clock: Clock) -> None:
        self._engine = engine
        self._make_sweep = make_sweep
        self._clock = clock

    async def add(self, rule: ExpiryRule) -> None:
        await self._rules.add(rule)

    async def remove(self, rule_id: str) -> bool:
        return await self._rules.remove(rule_id)

    async def enable(self, rule_id: str, enabled: bool) -> bool:
        return await self._rules.enable(rule_id, enabled)

    async def rules(self) -> tuple[ExpiryRule, ...]:
        return await self._rules.list()

    async def statistics(self) -> ExpiryStatistics:
        return await StatisticsRecorder(self._engine.store, self._clock).statistics()

    async def sweep(self, *, dry_run: bool) -> "tuple[Finding, ...]":
        """Look at all sessions; return what is due by rules, or was and what came of it."""
        sweep = await self._make_sweep()
        from agentbus.workers.expiry.sweep import Finding  # noqa: PLC0415 - whoever sweeps has imported it

        found = [one async for one in sweep.run(dry_run=dry_run) if isinstance(one, Finding)]
        return tuple(one for one in found if one.rule_id is not None)

    @property
    def _rules(self) -> ExpiryRules:
        return ExpiryRules(self._engine.store, self._clock)
