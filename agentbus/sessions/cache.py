"""A bounded cache of contexts, for those who read the same sessions again and again."""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from agentbus.contracts.base import DEFERRED, JsonObject
from agentbus.contracts.errors import AgentBusError, SchemaViolation
from agentbus.sessions.manager import SessionManager
from agentbus.sessions.model.context import SessionContext
from agentbus.sessions.model.validation import reasons
from agentbus.workers.concurrency import raise_if_cancelled

_OBJECT: Final = TypeAdapter[dict[str, Any]](JsonObject, config=DEFERRED)


@cache
def _context() -> TypeAdapter[SessionContext]:
    return TypeAdapter(SessionContext)


@dataclass(frozen=True, slots=True)
class CacheInfo:
    """How a cache has done."""

    size: int
    capacity: int
    hits: int
    misses: int

    @property
    def hit_rate(self) -> float:
        """The share of reads that did not go to the store, 0 to 1; 0 before the first."""
        reads = self.hits + self.misses
        return self.hits / reads if reads else 0.0


class ContextManager:
    """Keeps the contexts read last: at most `capacity`, each for `seconds`.

    What it gives out may be that old; what was saved through it is seen at once. Saving checks against what was read,
    so that an old copy never writes over what others have changed (EditConflict).
    """

    def __init__(
        self,
        manager: SessionManager,
        *,
        capacity: int = 1000,
        seconds: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._manager = manager
        self._capacity = capacity
        self._seconds = seconds
        self._clock = clock
        self._kept: OrderedDict[str, tuple[float, SessionContext]] = OrderedDict()
        self._hits = 0
        self._misses = 0

    def info(self) -> CacheInfo:
        """Return how the cache has done."""
        return CacheInfo(len(self._kept), self._capacity, self._hits, self._misses)

    async def get(self, session_id: str) -> SessionContext | None:
        """Return a copy of a session's context, to be changed freely; None if there is no such session."""
        kept = self._kept.get(session_id)
        if kept and kept[0] > self._clock():
            self._hits += 1
            self._kept.move_to_end(session_id)
            return deepcopy(kept[1])
        self._misses += 1
        context = await self._manager.get_session(session_id)
        if context is None:
            self.forget(session_id)
            return None
        self._keep(context)
        return deepcopy(context)

    async def set(self, context: SessionContext) -> None:
        """Validate and save a context. Raises SchemaViolation, and as `update_session` does."""
        self.validate(context.data, "data")
        self.validate(context.metadata, "metadata")
        self.forget(context.session_id)
        await self._manager.update_session(context)
        if context.changes() is None:  # Otherwise somebody has gone on with it, and what is new was not saved.
            self._keep(deepcopy(context))

    async def get_many(self, session_ids: Iterable[str]) -> dict[str, SessionContext]:
        """Return the contexts of those sessions that there are."""
        found = {session_id: await self.get(session_id) for session_id in dict.fromkeys(session_ids)}
        return {session_id: context for session_id, context in found.items() if context}

    async def set_many(self, contexts: Iterable[SessionContext]) -> dict[str, AgentBusError | None]:
        """Save contexts; return for each session None, or why it was not saved."""
        outcomes: dict[str, AgentBusError | None] = {}
        for context in contexts:
            try:
                await self.set(context)
                outcomes[context.session_id] = None
            except AgentBusError as error:
                raise_if_cancelled()
                outcomes[context.session_id] = error
        return outcomes

    def forget(self, session_id: str) -> None:
        """Read the session from the store next time."""
        self._kept.pop(session_id, None)

    @staticmethod
    def validate(values: Mapping[str, Any], what: str = "data") -> None:
        """Raise SchemaViolation, saying where and why, unless every store can keep `values`."""
        try:
            _OBJECT.validate_python(values)
        except ValidationError as error:
            reasons = "; ".join(f"{'.'.join([what, *map(str, one['loc'])])}: {one['msg']}" for one in error.errors())
            raise SchemaViolation(f"the context can't be kept: {reasons}") from error

    @staticmethod
    def serialize(context: SessionContext) -> str:
        """Return a context as JSON text: with its messages, and with what was changed in it and not saved yet."""
        return _context().dump_json(context).decode()

    @staticmethod
    def deserialize(text: str) -> SessionContext:
        """Return the context that `serialize` wrote. Raises SchemaViolation for anything else."""
        try:
            return _context().validate_json(text)
        except ValidationError as error:
            raise SchemaViolation(f"that is not a serialized context: {reasons(error)}") from error

    def _keep(self, context: SessionContext) -> None:
        kept = self._kept.get(context.session_id)
        if kept and kept[1].version > context.version:
            return  # Saved while the older one was being read.
        self._kept[context.session_id] = (self._clock() + self._seconds, context)
        self._kept.move_to_end(context.session_id)
        while len(self._kept) > self._capacity:
            self._kept.popitem(last=False)
