"""Answers to queries: read from the store, beside the lanes; nothing is decided, nothing is changed.

What is told of a reply that is being written goes the same way: its writer needs no right to announce anything.
"""

import asyncio
from collections.abc import Collection
from typing import Final
from uuid import uuid4

from agentbus.contracts.commands import CommandReply, ReplyError
from agentbus.contracts.envelope import EventEnvelope
from agentbus.contracts.errors import (
    AccessDenied,
    AgentBusError,
    BusError,
    Refused,
    SessionNotFound,
    StoreDamaged,
    StoreUnavailable,
)
from agentbus.contracts.ids import InputId
from agentbus.contracts.queries import AnyQuery, ReadEvents, ReadSession, TellWriting
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.contracts.telemetry import Action
from agentbus.contracts.writing import WRITING_TOPIC, WritingEnvelope
from agentbus.storage.history import history_page
from agentbus.storage.log_lines import Logger
from agentbus.storage.port import Store
from agentbus.workers.bus.port import Bus, Delivery, Message
from agentbus.workers.concurrency import raise_if_cancelled
from agentbus.workers.domain.access import DENIED, Right, may
from agentbus.workers.faults import told
from agentbus.workers.following.session_feed import Place, SessionFeed

_SECONDS: Final = 10.0
"""Seconds for which a query is answered. Who asked does not wait longer, and asks again."""

_EVENT_BYTES: Final = 262_144
"""Bytes of events in one answer, about: of long ones there are fewer."""

_log = Logger(__name__)


class Queries:
    """Answers queries. What an event announced is in the answer: heads are written before events are announced."""

    def __init__(self, bus: Bus, store: Store, *, secret_keys: Collection[str]) -> None:
        self._bus = bus
        self._store = store
        self._secret_keys = secret_keys

    async def answer(self, delivery: Delivery, query_id: InputId, query: AnyQuery) -> None:
        """Reply, with what was asked or with why not, and acknowledge. A query whose answer is lost is asked again."""
        if delivery.reply_to:
            await self._send(delivery, await self._reply(query_id, query))
        await delivery.ack()

    async def refuse(self, delivery: Delivery, error: Refused) -> None:
        """Tell whoever waits for a reply that what they sent is refused, and acknowledge it."""
        await self._send(delivery, CommandReply(command_id=InputId(delivery.message_id), error=_said(error)))
        await delivery.ack()

    async def _send(self, delivery: Delivery, reply: CommandReply) -> None:
        try:
            await self._bus.reply(delivery, reply.model_dump_json(exclude_none=True).encode())
        except BusError as failed:
            raise_if_cancelled()
            _log.debug(Action.REPLY_FAILED, error=str(failed))

    async def _reply(self, query_id: InputId, query: AnyQuery) -> CommandReply:
        try:
            async with asyncio.timeout(_SECONDS):
                return await self._read(query_id, query)
        except Exception as error:
            raise_if_cancelled()
            return CommandReply(command_id=query_id, error=_said(error))

    async def _read(self, query_id: InputId, query: AnyQuery) -> CommandReply:
        head = _readable(await self._store.heads.get(query.session_id), query)
        reply = CommandReply(command_id=query_id, session_id=head.session_id, version=head.version)
        if isinstance(query, ReadSession):
            return reply.model_copy(update={"session": head})
        if isinstance(query, TellWriting):
            await self._announce(head, query)
            return reply
        if isinstance(query, ReadEvents):
            return reply.model_copy(update=await self._events(head, query))
        try:
            page = await history_page(self._store, head, limit=query.limit, cursor=query.cursor)
        except ValueError as error:
            raise Refused(str(error)) from error
        return reply.model_copy(update={"history": page.items, "cursor": page.cursor})

    async def _events(self, head: SessionState, query: ReadEvents) -> dict[str, object]:
        feed = SessionFeed(self._store, head.session_id, self._secret_keys)
        if query.place is None:
            place = await feed.before(head, query.from_sequence)
        elif (given := Place.read(query.place)) is not None:
            place = given
        else:
            raise Refused("that is no place in a session's log: hand back one that an answer had")
        found = await feed.after(place, shown_from=head.shown_from)
        bodies: list[str] = []
        there, size = found.place, 0
        for at, event in found.events:
            body = EventEnvelope.of(event).to_bytes().decode()
            size += len(body)
            if bodies and size > _EVENT_BYTES:
                return {"events": tuple(bodies), "place": str(there), "more": True}
            bodies.append(body)
            there = at
        return {"events": tuple(bodies), "place": str(found.place), "more": found.more}

    async def _announce(self, head: SessionState, query: TellWriting) -> None:
        """Tell whoever shows replies while they are being written; there may be nobody, or nowhere to show it."""
        to = query.writing.to or head.address
        if to is None or not head.is_live:
            return
        told = WritingEnvelope(
            id=f"{head.session_id}/{WRITING_TOPIC}/{uuid4().hex}",
            subject=head.session_id,
            partitionkey=head.conversation_id,
            data=query.writing.model_copy(update={"to": to}),
        )
        message = Message(body=told.to_bytes(), message_id=told.id)
        key = f"session.{WRITING_TOPIC}.{to.platform}"
        await self._bus.publish(self._bus.topology.events, key, message, mandatory=False)


def _readable(head: SessionState | None, query: AnyQuery) -> SessionState:
    """Return the head if it may be read. Who asks for a user is not told whether there is such a session."""
    right = Right.WRITE if isinstance(query, TellWriting) else Right.READ
    if head is not None and head.status is not SessionStatus.DELETED and may(head, query.actor, right):
        return head
    if query.actor is not None:
        raise AccessDenied(DENIED)
    raise SessionNotFound(f"there is no session {query.session_id}")


def _said(error: Exception) -> ReplyError:
    if isinstance(error, TimeoutError):
        error = StoreUnavailable(f"the store did not answer within {_SECONDS:g} s")
    if isinstance(error, StoreDamaged):
        _log.error(Action.QUERY_FAILED, **told(error))
        error = StoreDamaged()  # Where it is kept is not for whoever asks.
    if isinstance(error, AgentBusError):
        return ReplyError(code=error.code, message=str(error))
    _log.error(Action.QUERY_FAILED, **told(error))
    return ReplyError(code=AgentBusError.code, message="the query failed: the worker's log says where")
