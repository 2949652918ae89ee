"""Many sessions at once, each with a result of its own."""

import asyncio
import inspect
from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from agentbus.sessions.manager.base import sessions_of
from agentbus.sessions.manager.lifecycle import Lifecycle
from agentbus.sessions.model.context import SessionContext
from agentbus.sessions.model.types import ChildPolicy
from contracts.errors import AgentBusError, SchemaViolation
from contracts.history import SessionFilter
from storage.reading import iter_sessions
from workers.endings import raise_if_cancelled, side_by_side

_AT_A_TIME = 100

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

        return await _each(create(request) for request in requests)

    async def delete_sessions(
        self,
        session_ids: Sequence[str],
        *,
        user_id: str | None = None,
        children: ChildPolicy | str = ChildPolicy.REFUSE,
    ) -> list[BatchResult[bool]]:
        """Delete many sessions, as `delete_session` does. Results are in order."""
        return await _each(self.delete_session(one, user_id=user_id, children=children) for one in session_ids)

    async def delete_user_sessions(self, user_id: str) -> int:
        """Delete all sessions that a user owns, those that ended included; return how many."""
        return await self._delete_all(sessions_of("owner", owner=user_id))

    async def delete_agent_sessions(self, agent_id: str, user_id: str | None = None) -> int:
        """Delete all sessions with an agent (of a user); return how many."""
        return await self._delete_all(sessions_of("agent_id", agent_id=agent_id, owner=user_id))

    async def _delete_all(self, where: SessionFilter) -> int:
        ids = [state.session_id async for state in iter_sessions(self._store, where)]
        results = await _each(self.delete_session(one, children=ChildPolicy.DETACH) for one in ids)
        for result in results:
            if result.error:
                raise result.error
        return sum(bool(result.value) for result in results)


async def _each(calls: Iterable[Awaitable[T]]) -> list[BatchResult[T]]:
    """Await calls, a bounded number at a time."""
    slots = asyncio.Semaphore(_AT_A_TIME)

    async def one(call: Awaitable[T]) -> BatchResult[T]:
        async with slots:
            try:
                return BatchResult(value=await call)
            except AgentBusError as error:
                raise_if_cancelled()
                return BatchResult(error=error)

    return await side_by_side(one(call) for call in calls)
