"""Deadlines: sessions whose time is over expire, and those that are silent become idle."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agentbus.contracts.clock import Clock
from agentbus.contracts.commands import ApplyDeadlines
from agentbus.contracts.errors import AgentBusError, Refused
from agentbus.contracts.ids import SessionId
from agentbus.sessions.engine import Engine
from agentbus.sessions.model.results import Count
from agentbus.sessions.model.types import SessionStatus
from agentbus.sessions.sections.shared import Commands
from agentbus.storage.reading import iter_due
from agentbus.workers.domain.deadlines import has_expired

if TYPE_CHECKING:
    from agentbus.workers.expiry.sweep import Finding


@dataclass(frozen=True, slots=True)
class CleanupReport:
    """What a look for expired sessions did, or would do."""

    dry_run: bool
    expired: tuple[SessionId, ...]
    """Sessions whose time was over."""
    idle: tuple[SessionId, ...]
    """Sessions that were silent for longer than their idle timeout."""
    steps: "tuple[Finding, ...]" = ()
    """What was due by expiry rules, session by session, and what came of it; with `enable_expiry` alone."""
    failed: Mapping[SessionId, AgentBusError] = field(default_factory=dict)
    """Sessions that were due and could not be dealt with, as their conversations are blocked, and why."""


class Deadlines:
    """The sessions' own deadlines."""

    def __init__(self, engine: Engine, commands: Commands, clock: Clock) -> None:
        self._engine = engine
        self._commands = commands
        self._clock = clock

    async def expire(self) -> Count:
        report = await self.apply()
        return Count(len(report.expired), report.failed)

    async def apply(self) -> CleanupReport:
        """Have all sessions that are due expire or become idle. What is wrong with store or bus is raised."""
        done: dict[SessionStatus, list[SessionId]] = {SessionStatus.EXPIRED: [], SessionStatus.IDLE: []}
        failed: dict[SessionId, AgentBusError] = {}
        until = self._clock.now()
        async for due in iter_due(self._engine.store, until):
            try:
                await self._commands.carry_out(due.session_id, ApplyDeadlines)
            except Refused as error:
                failed[due.session_id] = error
                continue
            state = await self._engine.state(due.session_id)
            if state and state.status in done:
                done[state.status].append(state.session_id)
        expired, idle = tuple(done[SessionStatus.EXPIRED]), tuple(done[SessionStatus.IDLE])
        return CleanupReport(dry_run=False, expired=expired, idle=idle, failed=failed)

    async def due(self) -> CleanupReport:
        """Return what `apply` would do; it changes nothing."""
        now = self._clock.now()
        due = [state async for state in iter_due(self._engine.store, now)]
        over = {state.session_id for state in due if has_expired(state, now)}
        silent = (state.session_id for state in due if state.session_id not in over)
        return CleanupReport(dry_run=True, expired=tuple(over), idle=tuple(silent))
