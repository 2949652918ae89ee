"""What operators do about replies: see which wait, and decide about those that may have been sent, or not."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pydantic import TypeAdapter, ValidationError

from agentbus.client import AgentBus
from agentbus.composition.app import App
from agentbus.contracts.address import Platform
from agentbus.contracts.base import DEFERRED
from agentbus.contracts.clock import Clock
from agentbus.contracts.commands import ResolveReply
from agentbus.contracts.errors import SchemaViolation, StoreDamaged
from agentbus.contracts.history import Page
from agentbus.contracts.ids import ConversationId, conversation_of
from agentbus.contracts.records import Record, RecordKind
from agentbus.contracts.replies import (
    MAX_REASON_LENGTH,
    OutgoingReply,
    ReplyId,
    ReplyIdField,
    ReplyResolution,
    ReplyState,
    session_of_reply,
)
from agentbus.contracts.session import SessionState
from agentbus.contracts.topology import Topology
from agentbus.operations.paging import page_after
from agentbus.storage.damage import tell
from agentbus.storage.port import Store
from agentbus.workers.domain.replies import find_reply, waiting_replies
from agentbus.workers.outbound.outbox import UNKNOWN_GROUP, Outbox

_EVER: Final = datetime.fromisoformat("9000-01-01T00:00:00+00:00")
_ID: Final[TypeAdapter[ReplyId]] = TypeAdapter(ReplyIdField, config=DEFERRED)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedReply:
    """An open reply, as it is listed."""

    reply_id: ReplyId
    state: ReplyState
    platform: Platform
    asked_at: datetime
    again: int
    """How often somebody had it sent again."""
    due_at: datetime | None = None
    """When it is tried next; None: somebody has to decide."""
    reason: str = ""
    """Why nobody knows what became of it."""


async def list_unknown(
    store: Store, topology: Topology, clock: Clock, *, limit: int = 50, cursor: str | None = None
) -> Page[ListedReply]:
    """Return a page of the replies that somebody has to decide about, the latest first.

    Raises InvalidCursor, StoreError.
    """
    with page_after(cursor):
        page = await store.records.page(RecordKind.OUTBOX, UNKNOWN_GROUP, limit=limit, cursor=cursor)
    outbox = Outbox(store, topology, clock)
    listed = [one for record in page.items if (one := await _unknown(outbox, record))]
    return Page[ListedReply].model_construct(items=tuple(listed), cursor=page.cursor)


async def list_waiting(store: Store, topology: Topology, clock: Clock, *, limit: int = 50) -> list[ListedReply]:
    """Return the replies that are to be sent, of up to `limit` conversations, those first that are due first.

    Raises StoreError.
    """
    outbox = Outbox(store, topology, clock)
    listed: list[ListedReply] = []
    for record in await store.records.due(RecordKind.OUTBOX, _EVER, limit=limit):
        state = await _readable(outbox, ConversationId(record.key))
        listed += [_listed(one, due_at=record.due_at) for one in waiting_replies(state)] if state else []
    return listed


async def resolve_reply(app: App, reply: str, resolution: ReplyResolution, *, reason: str = "") -> None:
    """Carry out what somebody decided about a reply of which nobody knows whether it was sent.

    Raises SchemaViolation for what is no reply's id, ReplyNotFound for one that nobody has to decide about,
    SessionNotFound, ReplyTimeout, BusError, StoreError.
    """
    try:
        known = _ID.validate_python(reply)
    except ValidationError:
        raise SchemaViolation(f"{reply!r} is no reply's id: see `agentbus replies list`") from None
    command = ResolveReply(
        session_id=session_of_reply(known), reply=known, resolution=resolution, reason=reason[:MAX_REASON_LENGTH]
    )
    await AgentBus(app.bus, scope=app.settings.session.scope, by=app.by).send(command)
    await app.store.records.delete(RecordKind.OUTBOX, known)
    if resolution is not ReplyResolution.RESEND:  # how far it is says from where on it is sent again
        await app.store.records.delete(RecordKind.SENDING, known)


async def _unknown(outbox: Outbox, record: Record) -> ListedReply | None:
    """Return a reply that was listed, unless it is known by now what became of it."""
    reply = ReplyId(record.key)
    state = await _readable(outbox, conversation_of(session_of_reply(reply)))
    found = find_reply(state, reply) if state else None
    if found is None or found.state is not ReplyState.UNKNOWN:
        return None
    return _listed(found, reason=str(record.data.get("reason", "")))


async def _readable(outbox: Outbox, conversation: ConversationId) -> SessionState | None:
    """Return a conversation; None for one that is damaged, which is told: the others are listed all the same."""
    try:
        return await outbox.state_of(conversation)
    except StoreDamaged as damage:
        tell(damage)
        return None


def _listed(reply: OutgoingReply, *, due_at: datetime | None = None, reason: str = "") -> ListedReply:
    return ListedReply(
        reply_id=reply.reply_id,
        state=reply.state,
        platform=reply.platform,
        asked_at=reply.at,
        again=reply.again,
        due_at=due_at,
        reason=reason,
    )
