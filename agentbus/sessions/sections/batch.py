"""Many sessions at once, each with a result of its own."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Final, Generic, TypeVar

from agentbus.contracts.clock import Clock
from agentbus.contracts.errors import AgentBusError, Refused, SchemaViolation
from agentbus.contracts.history import SessionFilter
from agentbus.contracts.ids import SessionId
from agentbus.sessions.engine import Engine
from agentbus.sessions.model.context import SessionContext
from agentbus.sessions.model.results import Count
from agentbus.sessions.model.types import ChildPolicy, SessionStatus
from agentbus.sessions.model.validation import checking
from agentbus.sessions.sections.deletion import Deletion
from agentbus.sessions.sections.shared import Caller
from agentbus.storage.paging import listed_at
from agentbus.storage.reading import iter_sessions
from agentbus.workers.concurrency import raise_if_cancelled, side_by_side
from agentbus.workers.domain.expiry import is_leaving

_AT_A_TIME: Final = 100
_ROUNDS: Final = 10
"""How often all of somebody's sessions are looked for, as long as new ones are found."""
_OVER: Final = (SessionStatus.CLOSED, SessionStatus.EXPIRED)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class BatchResult(Generic[T]):
    """What became of one item of a batch: its value, or its error."""

    value: T | None = None
    error: AgentBusError | None = None

    @property
    def ok(self) -> bool:
        """Whether it was done."""
        return self.error is None


class Batch:
    """Many sessions at once: one item's failure never fails the others."""

    def __init__(self, engine: Engine, deletion: Deletion, clock: Clock) -> None:
        self._engine = engine
        self._deletion = deletion
        self._clock = clock

    async def create(
        self, requests: Sequence[Mapping[str, Any]], create_session: Callable[..., Awaitable[SessionContext]]
    ) -> list[BatchResult[SessionContext]]:
        """Create sessions, one by one by `create_session`, whose arguments each request holds."""

        async def create(request: Mapping[str, Any]) -> SessionContext:
            try:
                inspect.signature(create_session).bind(**request)
            except TypeError as error:
                raise SchemaViolation(f"the session can't be created: {error}") from error
            return await create_session(**request)

        return await _each(partial(create, request) for request in requests)

    async def delete(
        self, session_ids: Sequence[str], children: ChildPolicy | str, user_id: str | None
    ) -> list[BatchResult[bool]]:
        caller = Caller(user_id)
        return await _each(partial(self._deletion.delete, one, children, caller) for one in session_ids)

    async def clean_up(self, older_than_days: float) -> Count:
        with checking("older_than_days can't be used"):
            before = self._clock.now() - timedelta(days=older_than_days)
        count = Count(0)
        for status in _OVER:
            ended = iter_sessions(self._engine.store, SessionFilter(status=status))
            found = [one.session_id async for one in ended if listed_at(one) < before and not is_leaving(one)]
            count = count.and_more(await self._delete_each(found))
        return count

    async def delete_all(self, where: SessionFilter) -> Count:
        """Delete all sessions that a filter selects, and those that came meanwhile, as long as there are such."""
        count = Count(0)
        for _ in range(_ROUNDS):
            sessions = iter_sessions(self._engine.store, where)
            found = [one.session_id async for one in sessions if one.session_id not in count.failed]
            if not found:
                break
            count = count.and_more(await self._delete_each(found))
        return count

    async def _delete_each(self, session_ids: Sequence[SessionId]) -> Count:
        """Delete sessions. Raises what is wrong with store or bus, once each was tried: the others are deleted."""
        results = await _each(partial(self._deletion.delete, one, ChildPolicy.DETACH) for one in session_ids)
        failed = {one: result.error for one, result in zip(session_ids, results, strict=True) if result.error}
        for error in failed.values():
            if not isinstance(error, Refused):
                raise error
        return Count(sum(bool(result.value) for result in results), failed)


async def _each(calls: Iterable[Callable[[], Awaitable[T]]]) -> list[BatchResult[T]]:
    """Make calls, a bounded number at a time; whatever one raises is its own result."""
    slots = asyncio.Semaphore(_AT_A_TIME)

    async def one(call: Callable[[], Awaitable[T]]) -> BatchResult[T]:
        async with slots:
            try:
                return BatchResult(value=await call())
            except AgentBusError as error:
                raise_if_cancelled()
                return BatchResult(error=error)
            except Exception as error:  # A fault of ours: the others must not go on unseen because of it.
                raise_if_cancelled()
                unforeseen = AgentBusError(f"a fault of AgentBus, please report it: {error!r}")
                unforeseen.__cause__ = error
                return BatchResult(error=unforeseen)

    return await side_by_side(one(call) for call in calls)
