"""Many sessions at once, each with a result of its own."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Final, Generic, TypeVar

from agentbus.sessions.manager.base import sessions_of
from agentbus.sessions.manager.lifecycle import Lifecycle
from agentbus.sessions.model.checking import checking
from agentbus.sessions.model.context import SessionContext
from agentbus.sessions.model.count import Count
from agentbus.sessions.model.types import ChildPolicy, SessionStatus
from contracts.errors import AgentBusError, Refused, SchemaViolation
from contracts.history import SessionFilter
from contracts.ids import SessionId
from storage.paging import listed_at
from storage.reading import iter_sessions
from workers.concurrency import raise_if_cancelled, side_by_side
from workers.domain.expiry import is_leaving

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


class Batch(Lifecycle):
    """The section of batch calls: one item's failure never fails the others."""

    async def create_sessions(self, requests: Sequence[Mapping[str, Any]]) -> list[BatchResult[SessionContext]]:
        """Create many sessions; each request holds the arguments of `create_session`. Results are in order."""

        async def create(request: Mapping[str, Any]) -> SessionContext:
            try:
                inspect.signature(self.create_session).bind(**request)
            except TypeError as error:
                raise SchemaViolation(f"the session can't be created: {error}") from error
            return await self.create_session(**request)

        return await _each(partial(create, request) for request in requests)

    async def delete_sessions(
        self,
        session_ids: Sequence[str],
        *,
        user_id: str | None = None,
        children: ChildPolicy | str = ChildPolicy.REFUSE,
    ) -> list[BatchResult[bool]]:
        """Delete many sessions, as `delete_session` does. Results are in order."""
        delete = partial(self.delete_session, user_id=user_id, children=children)
        return await _each(partial(delete, one) for one in session_ids)

    async def delete_user_sessions(self, user_id: str) -> Count:
        """Delete all sessions that a user owns, those that ended included; return how many.

        One that can't be deleted (its conversation is blocked) keeps no other from it, and is in `failed`.
        """
        return await self._delete_all(sessions_of("owner", owner=user_id))

    async def delete_agent_sessions(self, agent_id: str, user_id: str | None = None) -> Count:
        """Delete all sessions with an agent (of a user), as `delete_user_sessions` does; return how many."""
        return await self._delete_all(sessions_of("agent_id", agent_id=agent_id, owner=user_id))

    async def batch_cleanup(self, older_than_days: float = 30) -> Count:
        """Delete the sessions that ended and had no activity for so many days; return how many.

        What is archived is kept, and what a rule is about to move there: `delete_session` or a rule's step deletes it.
        One that can't be deleted (its conversation is blocked) keeps no other from it, and is in `failed`.
        """
        with checking("older_than_days can't be used"):
            before = self._clock.now() - timedelta(days=older_than_days)
        count = Count(0)
        for status in _OVER:
            ended = iter_sessions(self._store, SessionFilter(status=status))
            found = [one.session_id async for one in ended if listed_at(one) < before and not is_leaving(one)]
            count = count.and_more(await self._delete_each(found))
        return count

    async def _delete_all(self, where: SessionFilter) -> Count:
        """Delete all sessions that a filter selects, and those that came meanwhile, as long as there are such."""
        count = Count(0)
        for _ in range(_ROUNDS):
            sessions = iter_sessions(self._store, where)
            found = [one.session_id async for one in sessions if one.session_id not in count.failed]
            if not found:
                break
            count = count.and_more(await self._delete_each(found))
        return count

    async def _delete_each(self, session_ids: Sequence[SessionId]) -> Count:
        """Delete sessions. Raises what is wrong with store or bus, once each was tried: the others are deleted."""
        delete = partial(self.delete_session, children=ChildPolicy.DETACH)
        results = await _each(partial(delete, one) for one in session_ids)
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
