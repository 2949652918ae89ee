"""One look at all sessions, without a worker that watches: says what would be done, or does it and says what came."""

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from agentbus.contracts.clock import Clock
from agentbus.contracts.commands import ApplyDeadlines, ExpireSession
from agentbus.contracts.errors import AgentBusError, ConfigurationError
from agentbus.contracts.expiry import CleanupAction, ExpiryRule
from agentbus.contracts.history import SessionFilter
from agentbus.contracts.ids import SessionId
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.storage.port import Store
from agentbus.workers.concurrency import raise_if_cancelled, side_by_side
from agentbus.workers.domain.expiry import Later
from agentbus.workers.expiry.watch.commands import DEADLINE, ExpiryCommands, Order, Overtaken
from agentbus.workers.expiry.watch.phases import Archive, Discard, next_phase, was_moved

_PAGE: Final = 200
_MOST_PHASES: Final = 6
"""Things that may be due for one session at once: its own deadline, a step, the archive, a step after it."""
_PATIENCE: Final = 10.0
"""Seconds to wait for the sessions' owners."""
_PAUSE: Final = 0.05


_Due = ExpireSession | ApplyDeadlines | Archive | ConfigurationError
"""What is to be done, or why that can't be said."""


class SweepOutcome(StrEnum):
    """What came of something that was due."""

    WOULD = "would be done"
    """It is due; nothing was done."""
    DONE = "done"
    """It was done."""
    OVERTAKEN = "not done: something happened first"
    """The owner found that the session had gone on."""
    UNANSWERED = "given, no answer yet"
    """The command waits for its owner: is a session worker running?"""
    FAILED = "failed"
    """It could not be done; the reason stands beside it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that was due for a session."""

    session_id: SessionId
    rule_id: str | None
    """None: the session's own deadline."""
    step: int | None
    """Counted from 0; -1 is the warning; None: no step of a rule."""
    action: str
    """A rule's action, `warn`, `deadline` for a session's own, `move to archive`, or `undecided`."""
    came: SweepOutcome
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """How many sessions were looked at."""

    looked_at: int


class Sweep:
    """Walks all sessions once."""

    def __init__(self, store: Store, rules: Sequence[ExpiryRule], acting: ExpiryCommands, clock: Clock) -> None:
        self._store = store
        self._rules = rules
        self._acting = acting
        self._clock = clock

    async def run(self, *, dry_run: bool) -> AsyncIterator[Finding | Progress]:
        """Yield what is due, or was and what came of it, and after each page how far this is."""
        looked_at, cursor = 0, None
        while True:
            page = await self._store.heads.page(SessionFilter(), limit=_PAGE, cursor=cursor)
            if dry_run:
                for head, phase in self._due(page.items):
                    yield _finding(head, phase, SweepOutcome.WOULD)
            else:
                async for finding in self._done(page.items):
                    yield finding
            looked_at += len(page.items)
            yield Progress(looked_at)
            cursor = page.cursor
            if not cursor:
                return

    async def _done(self, heads: Sequence[SessionState]) -> AsyncIterator[Finding]:
        """Do what is due for some sessions, and what is due after that."""
        for _ in range(_MOST_PHASES):
            due = self._due(heads)
            orders = [Order(head, phase) for head, phase in due if isinstance(phase, ExpireSession | ApplyDeadlines)]
            failed = await self._give(orders)
            after = await self._seen([one.head for one in orders if one.head.session_id not in failed])
            done: list[SessionId] = []
            for head, phase in due:
                if error := failed.get(head.session_id):
                    yield _failed(head, phase, error)
                    continue
                finding = await self._came(head, phase, after.get(head.session_id))
                yield finding
                if finding.came is SweepOutcome.DONE:
                    done.append(head.session_id)
            heads = list((await self._store.heads.get_many(done)).values())
            if not heads:
                return

    async def _give(self, orders: Sequence[Order]) -> dict[SessionId, AgentBusError]:
        """Give what is to be done to the sessions' owners; return of which sessions that failed, and why."""
        failed: dict[SessionId, AgentBusError] = {}

        async def merge(head: SessionState, command: ExpireSession) -> None:
            try:
                await self._acting.merge(head, command)
            except AgentBusError as error:
                raise_if_cancelled()
                failed[head.session_id] = error

        plain: list[Order] = []
        merging: list[Coroutine[Any, Any, None]] = []
        for order in orders:
            if isinstance(order.command, ExpireSession) and order.command.action is CleanupAction.MERGE:
                merging.append(merge(order.head, order.command))
            else:
                plain.append(order)
        await side_by_side((self._acting.give(plain), *merging))
        return failed

    def _due(self, heads: Sequence[SessionState]) -> list[tuple[SessionState, _Due]]:
        """Return for which of the sessions something is to be done."""
        now = self._clock.now()
        found: list[tuple[SessionState, _Due]] = []
        for head in heads:
            try:
                # Whether a move to the archive, or out of it, is finished is for those to see who move.
                asked = head.status is SessionStatus.ARCHIVED and not was_moved(head)
                phase = next_phase(self._rules, head, now, stripped=not (asked and self._acting.can_move(head)))
            except ConfigurationError as error:
                found.append((head, error))
                continue
            if phase is not None and not isinstance(phase, Later | Discard):
                found.append((head, phase))
        return found

    async def _came(self, head: SessionState, phase: _Due, after: SessionState | None) -> Finding:
        match phase:
            case ConfigurationError():
                return _finding(head, phase, SweepOutcome.FAILED, str(phase))
            case Archive():
                return await self._moved(head, phase)
            case _ if after is None:
                return _finding(head, phase, SweepOutcome.UNANSWERED)
            case ApplyDeadlines():
                ended = after.status is not head.status
                return _finding(head, phase, SweepOutcome.DONE if ended else SweepOutcome.OVERTAKEN)
            case ExpireSession():
                return _finding(head, phase, SweepOutcome.DONE if _shows(after, phase) else SweepOutcome.OVERTAKEN)

    async def _moved(self, head: SessionState, phase: Archive) -> Finding:
        try:
            failed = await self._acting.archive([head])
            if head.session_id in failed:
                raise failed[head.session_id]
        except AgentBusError as error:
            raise_if_cancelled()
            return _failed(head, phase, error)
        return _finding(head, phase, SweepOutcome.DONE)

    async def _seen(self, before: Sequence[SessionState]) -> dict[SessionId, SessionState]:
        """Wait until something happened to the sessions, for some seconds; return those to which it did."""
        deadline = time.monotonic() + _PATIENCE
        versions = {head.session_id: head.version for head in before}
        changed: dict[SessionId, SessionState] = {}
        while len(changed) < len(versions) and time.monotonic() < deadline:
            now = await self._store.heads.get_many(versions.keys() - changed.keys())
            changed |= {one: head for one, head in now.items() if head.version > versions[one]}
            if len(changed) < len(versions):
                await asyncio.sleep(_PAUSE)
        return changed


def _shows(head: SessionState, command: ExpireSession) -> bool:
    """Whether a step was taken. One that deletes is seen by that alone, whoever did it."""
    if head.status is SessionStatus.DELETED:
        return command.action is CleanupAction.DELETE
    progress = head.expiry
    return progress is not None and progress.rule_id == command.rule_id and progress.step >= command.step


def _failed(head: SessionState, phase: _Due, error: AgentBusError) -> Finding:
    came = SweepOutcome.OVERTAKEN if isinstance(error, Overtaken) else SweepOutcome.FAILED
    return _finding(head, phase, came, str(error))


def _finding(head: SessionState, phase: _Due, came: SweepOutcome, reason: str | None = None) -> Finding:
    rule, step, action = (head.expiry.rule_id if head.expiry else None), None, "undecided"
    match phase:
        case ExpireSession():
            rule, step, action = phase.rule_id, phase.step, ("warn" if phase.step < 0 else phase.action.value)
        case ApplyDeadlines():
            rule, action = None, DEADLINE
        case Archive():
            action = "move to archive"
    return Finding(session_id=head.session_id, rule_id=rule, step=step, action=action, came=came, reason=reason)
