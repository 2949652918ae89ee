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
from agentbus.contracts.errors import SchemaViolation
from agentbus.contracts.history import Page
from agentbus.contracts.ids import ConversationId, conversation_of
from agentbus.contracts.records import RecordKind
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
    replies = [(ReplyId(record.key), str(record.data.get("reason", ""))) for record in page.items]
    named = [conversation_of(session_of_reply(reply)) for reply, _ in replies]
    states = await Outbox(store, topology, clock).states_of(named)
    listed = [
        _listed(found, reason=reason)
        for (reply, reason), conversation in zip(replies, named, strict=True)
        if (found := _unknown(states.get(conversation), reply))
    ]
    return Page[ListedReply].model_construct(items=tuple(listed), cursor=page.cursor)


async def list_waiting(store: Store, topology: Topology, clock: Clock, *, limit: int = 50) -> list[ListedReply]:
    """Return the replies that are to be sent, of up to `limit` conversations, those first that are due first.

    Raises StoreError.
    """
    due = await store.records.due(RecordKind.OUTBOX, _EVER, limit=limit)
    states = await Outbox(store, topology, clock).states_of([ConversationId(record.key) for record in due])
    return [
        _listed(one, due_at=record.due_at)
        for record in due
        if (state := states.get(ConversationId(record.key)))
        for one in waiting_replies(state)
    ]


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


def _unknown(state: SessionState | None, reply: ReplyId) -> OutgoingReply | None:
    """Return a reply that was listed, unless it is known by now what became of it."""
    found = find_reply(state, reply) if state else None
    return found if found and found.state is ReplyState.UNKNOWN else None


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
