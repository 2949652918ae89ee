"""The session manager: its sections, put together."""

from time import perf_counter
from typing import Any

from agentbus.sessions.manager.access import Access, AuditEntry
from agentbus.sessions.manager.batch import Batch, BatchResult
from agentbus.sessions.manager.checkpoints import Checkpoint, CheckpointNotFound
from agentbus.sessions.manager.engine import Engine
from agentbus.sessions.manager.listing import Listing, SessionTree
from agentbus.sessions.manager.messages import Messages
from agentbus.sessions.manager.templates import Template, TemplateNotFound
from agentbus.sessions.model.health import Health
from contracts.errors import AgentBusError
from workers.concurrency import raise_if_cancelled

__all__ = [
    "AuditEntry",
    "BatchResult",
    "Checkpoint",
    "CheckpointNotFound",
    "Engine",
    "SessionManager",
    "SessionTree",
    "Template",
    "TemplateNotFound",
]


class SessionManager(Batch, Messages, Access, Listing):
    """Creates sessions, finds, changes and ends them; the same calls embedded and distributed.

    Every change is a command that the session's owner decides, in one order with the messages that arrive; reads come
    from the store, and a caller reads its own writes. A call that timed out (ReplyTimeout) may be repeated with the
    same `request_id`: it is carried out once. Where a call takes `user_id`, that user's access is checked, and a
    refusal (AccessDenied) says nothing about whether the session exists.
    """

    async def health_check(self) -> Health:
        """Return whether sessions can be read and changed, and what does not work; true if everything does."""
        return Health({"store": await self._store_check()})

    async def _store_check(self) -> dict[str, Any]:
        begun = perf_counter()
        try:
            info = await self._store.info()
        except AgentBusError as error:
            raise_if_cancelled()
            return {"healthy": False, "last_error": f"{error.code}: {error}"}
        return {"healthy": True, "kind": info.kind, "milliseconds": round(1000 * (perf_counter() - begun), 3)}
