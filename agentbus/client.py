"""The client: publish chat messages, send commands, subscribe to what happens to sessions.

```python
from datetime import UTC, datetime

from agentbus import Address, InboundMessage, ReceivedEvent, TextContent, connect

async with connect() as bus:

    @bus.on("session.message.*", durable="my-bot")
    async def on_message(event: ReceivedEvent) -> None:
        await event.reply("I heard you.")

    where = Address(platform="web", chat="lobby", user="ada")
    said = TextContent(text="Hello!")
    await bus.publish(InboundMessage(address=where, message_id="1", sent_at=datetime.now(UTC), content=said))
    await bus.run()
```
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from pydantic import ValidationError

from agentbus.catching_up import CatchUp
from agentbus.composition.app import make_bus, make_clock
from agentbus.composition.signals import signalled
from agentbus.contracts.address import Address, Platform, Scope
from agentbus.contracts.commands import AnyCommand, CommandReply, SendReply
from agentbus.contracts.envelope import EventEnvelope, Input, InputEnvelope
from agentbus.contracts.errors import (
    Refused,
    ReplyTimeout,
    SchemaViolation,
    Unroutable,
)
from agentbus.contracts.events import MessageAppended
from agentbus.contracts.history import HistoryMessage, Page
from agentbus.contracts.ids import ConversationId, InputId, Partition, SessionId
from agentbus.contracts.messages import InboundMessage, OutboundMessage, Role, TextContent
from agentbus.contracts.operators import Operator
from agentbus.contracts.session import SessionState
from agentbus.contracts.writing import Writing
from agentbus.logs import configure_library_logs
from agentbus.received import Answering, Handled, ReceivedEvent, ReceivedMessage, SentReply
from agentbus.registering import check_beginning, check_handler, check_patterns
from agentbus.subscription import CONCURRENCY, Subscription
from agentbus.workers.bus.port import Bus
from agentbus.workers.concurrency import ended, in_turn, side_by_side
from agentbus.workers.delivery.inputs import Inputs, Routed
from agentbus.workers.outages import trouble_now
from agentbus.writing import AtWork, Telling, WrittenReply, written

if TYPE_CHECKING:
    from anyio.from_thread import BlockingPortal

PUBLISH_DEADLINE: Final = 30.0
"""Seconds for which an unconfirmed publish is made again, with the same id, before the error is raised."""

GRACE: Final = 20.0
"""Seconds for which handlers that are under way may finish after a signal to stop."""

_SOURCE: Final = "/agentbus/client"


@dataclass(frozen=True, slots=True)
class Receipt:
    """Confirmation that the broker keeps an input on disk: it will be in its session exactly once, or parked."""

    input_id: InputId
    conversation_id: ConversationId
    partition: Partition


class AgentBus:
    """Speaks to AgentBus over a bus that somebody else opened; `connect` opens one from settings.

    `by` is who has its commands given, if that is somebody: it is in the audit trail of what they change.
    """

    def __init__(self, bus: Bus, *, scope: Scope = Scope.PER_CHAT_USER, by: Operator | None = None) -> None:
        self._bus = bus
        self._inputs = Inputs(bus, scope=scope, source=_SOURCE, by=by)
        self._subscriptions: list[Subscription | CatchUp] = []
        self._at_work = AtWork()

    async def publish(self, message: InboundMessage, *, input_id: str | None = None) -> Receipt:
        """Publish a chat message and return once it is confirmed.

        The idempotency key is derived from the platform's message id, so publishing the same message again, from
        anywhere, changes nothing; `input_id` replaces it. An unconfirmed publish is made again for up to
        `PUBLISH_DEADLINE` seconds.

        Raises Unroutable (5 s have passed, and nobody has declared the topology), PublishUnconfirmed,
        BrokerUnavailable, BrokerBlocked; InstallationMismatch once the number of partitions has been changed: connect
        again, with the new one.
        """
        return (await self.publish_many([message], input_ids=[input_id]))[0]

    async def publish_many(
        self, messages: Sequence[InboundMessage], *, input_ids: Sequence[str | None] | None = None
    ) -> list[Receipt]:
        """Publish messages in their order, many confirms under way at a time. Raises as `publish` does."""
        ids = input_ids or [None] * len(messages)
        now = make_clock().now()
        envelopes = [
            InputEnvelope(id=given or message.input_id(), source=_SOURCE, time=now, data=message)
            for message, given in zip(messages, ids, strict=True)
        ]
        with self._inputs.on_their_way(envelopes) as outgoing:
            receipts = [
                Receipt(envelope.input_id, routed.conversation, routed.partition)
                for envelope, routed in zip(envelopes, outgoing, strict=True)
            ]
            await self._publish(outgoing)
        return receipts

    async def send(
        self,
        command: AnyCommand,
        *,
        to: ConversationId | None = None,
        command_id: str | None = None,
        timeout: float = 10.0,
    ) -> CommandReply:
        """Send a command to its conversation's owner and return the reply.

        The conversation is `to`, or that of the command's session id or address. A call that timed out may be made
        again with the same `command_id` (ReplyTimeout carries it): a command is carried out once.

        Raises the Refused that the owner answered with, ReplyTimeout after `timeout` seconds, Unroutable,
        PublishUnconfirmed, BrokerUnavailable; SchemaViolation if the command names no conversation.
        """
        given = Input(InputId(command_id or uuid4().hex), command)
        try:
            return await self._inputs.ask(given, to=to, timeout=timeout)
        except Unroutable:
            await self._bus.check()
            raise
        except ReplyTimeout as error:
            raise ReplyTimeout(
                f"no reply to {command.kind} in {timeout:g} s: {_why_silent()} Ask again with command_id={given.id!r}.",
                command_id=given.id,
            ) from error

    async def session(self, session_id: str, *, user_id: str | None = None, timeout: float = 10.0) -> SessionState:
        """Return a session's state as it is committed; the workers read it, so that a bot needs the broker alone.

        With `user_id` that user's right to read it is checked, as everywhere. Raises SessionNotFound, or AccessDenied
        if a user was named; SchemaViolation for what is no session id; ReplyTimeout after `timeout` seconds, and others
        as `send` does.
        """
        reply = await self._query({"kind": "read_session", "session_id": session_id, "actor": user_id}, timeout)
        if reply.session is None:
            raise Refused("the worker that answered is of an earlier release")
        return reply.session

    async def history(
        self,
        session_id: str,
        *,
        limit: int = 50,
        cursor: str | None = None,
        user_id: str | None = None,
        timeout: float = 10.0,
    ) -> Page[HistoryMessage]:
        """Return a page of a session's messages: the newest page first, its items oldest first, as a chat shows them.

        `limit` is 1 to 200; `cursor` that of the page before; `timeout` in seconds. Raises as `session` does, and
        Refused for a cursor of another session.
        """
        asked = {"kind": "read_history", "session_id": session_id, "actor": user_id, "limit": limit, "cursor": cursor}
        reply = await self._query(asked, timeout)
        return Page[HistoryMessage](items=reply.history or (), cursor=reply.cursor)

    async def say(
        self, to: Address, text: str | OutboundMessage, *, reply_id: str | None = None, timeout: float = 10.0
    ) -> SentReply:
        """Say something to a chat first: to an address as a message had it, or a session has it stored.

        It is said in the chat's live session; where there is none it begins one, as a message from there would. It is
        Markdown; an outbound worker sends it. With the same `reply_id` it is said once. What comes back can `edit` and
        `delete` it. `timeout` is in seconds. Raises as `send` does; RepliesWaiting.
        """
        message = text if isinstance(text, OutboundMessage) else OutboundMessage(content=TextContent(text=text))
        message = message if message.address else message.model_copy(update={"address": to})
        command = SendReply(address=to, message=message)
        return SentReply.by(self, await self.send(command, command_id=reply_id, timeout=timeout))

    def reply(
        self,
        session: SessionState | str,
        *,
        to: Address | None = None,
        reply_id: str | None = None,
        timeout: float = 10.0,
    ) -> AbstractAsyncContextManager[WrittenReply[SentReply]]:
        """Write a reply to a session part by part: `async with bus.reply(session) as reply: await reply.write(...)`.

        People see it grow where their platform can show that; it is sent when the block ends, to where the session's
        last message came from, or to `to`. If the block raises nothing is sent, and what was shown is marked as broken
        off. With the same `reply_id` it is said once, however often it is written. `timeout`, in seconds, is for
        sending it. Raises as `send` does.
        """
        session_id = session if isinstance(session, str) else session.session_id
        command_id = reply_id or uuid4().hex

        async def tell(writing: Writing) -> None:
            await self.tell_writing(session_id, writing)

        async def say(text: str) -> SentReply:
            message = OutboundMessage(address=to, content=TextContent(text=text))
            command = SendReply(session_id=SessionId(session_id), message=message)
            return SentReply.by(self, await self.send(command, command_id=command_id, timeout=timeout))

        return written(Telling(tell, command_id, to), say)

    async def tell_writing(self, session_id: str, writing: Writing, *, timeout: float = 10.0) -> None:
        """Have it announced what a reply reads that is being written: `reply`, and a message's `writing`, do so.

        It is kept nowhere, and comes to whoever shows replies at this moment. `timeout`, in seconds, is for the worker
        to take it. Raises as `session` does.
        """
        asked = {"kind": "tell_writing", "session_id": session_id, "writing": writing.model_dump()}
        await self._query(asked, timeout)

    async def _missed(self, session: SessionId, first: int, place: str | None) -> CommandReply:
        asked = {"kind": "read_events", "session_id": session, "from_sequence": first, "place": place}
        return await self._query(asked, timeout=10.0)

    async def _query(self, asked: Mapping[str, object], timeout: float) -> CommandReply:
        try:
            envelope = InputEnvelope.model_validate({"id": uuid4().hex, "source": _SOURCE, "data": asked})
        except ValidationError as error:
            wrong = error.errors(include_url=False, include_input=False, include_context=False)
            raise SchemaViolation("; ".join(f"{one['loc'][-1]}: {one['msg']}" for one in wrong)) from None
        try:
            return await self._inputs.request(envelope, timeout=timeout)
        except ReplyTimeout as error:
            raise ReplyTimeout(f"no answer in {timeout:g} s: {_why_silent()}") from error

    def on(
        self,
        *patterns: str,
        durable: str | None = None,
        ordered: bool = False,
        concurrency: int = CONCURRENCY,
        session: SessionState | str | None = None,
        from_sequence: int | None = None,
    ) -> Callable[[Handled], Handled]:
        """Subscribe the decorated async function to event topics, such as `session.message.*`, from `run` on.

        Sessions are handled side by side, up to `concurrency` (1 to 1000) at a time; within a session one event comes
        after the other. Each is acknowledged when its handler returned. A handler that takes long must await: while
        it computes, all others stand still.

        `durable` names a queue that keeps the events while nobody listens; programs that use the same name share
        them, or, if it is `ordered`, take turns: one gets them all, so that the first time an event comes is always
        after those before it in its session, whoever dies. A name keeps that for good; starting it with the other one
        raises TopologyMismatch.

        `session` hands over the events of that session alone, one after the other, from its event `from_sequence` on
        (1 is the first; as in an event's `sequence`) and then as they come: each once, in order, whatever was missed.
        They are read from the log over the broker, as `session` reads a state; what was archived or erased since is not
        there, and messages that were taken back say nothing. `start` raises SessionNotFound if there is no such
        session, ReplyTimeout if no session worker answers; once it is deleted no more comes, and `run` says so. Across
        sessions there is no sequence: there a `durable` name is what knows where its programs are.

        The handler gets a ReceivedEvent: `await event.reply("...")` answers it, once however often it comes.

        An event comes at least once: drop repeats by `event.id`. A handler that keeps failing gets its event parked
        (durable) or dropped with a log line (live); one that raises Reject at once. One that fails because the broker,
        the store or a session's owner does not answer is called again until it does.

        Raises ConfigurationError, at registering, for a pattern that no event's topic can match, for a handler that is
        not async, for a `session` without a sequence to begin at or the other way round, and for one that is `durable`.
        """
        check_patterns(patterns)
        where = check_beginning(session, from_sequence, durable=durable)

        def register(handler: Handled) -> Handled:
            check_handler(handler)

            async def handle(event: EventEnvelope) -> None:
                await handler(ReceivedEvent.by(self, event))

            self._subscriptions.append(
                Subscription(self._bus, patterns, handle, durable=durable, ordered=ordered, concurrency=concurrency)
                if where is None
                else CatchUp(self._bus, self._missed, patterns, handle, session=where[0], first=where[1])
            )
            return handler

        return register

    def on_message(
        self,
        *platforms: str,
        durable: str | None = None,
        ordered: bool = False,
        concurrency: int = CONCURRENCY,
        typing: bool = True,
    ) -> Callable[[Answering], Answering]:
        """Hand what people write to the decorated async function: on these platforms, or on all.

        It gets a ReceivedMessage: `message.text`, `await message.session()`, `await message.history()`, and
        `await message.reply("...")`, which goes back to where the message came from, whatever the platform is. While a
        handler takes more than a moment people see that an answer is being written, where their platform shows that,
        unless `typing` is False: for handlers that rarely answer. All else is as with `on`, which hands over the other
        events. Raises ConfigurationError as `on` does.
        """
        patterns = tuple(f"session.{MessageAppended.topic}.{platform}" for platform in platforms or ("*",))
        check_patterns(patterns)

        def register(handler: Answering) -> Answering:
            check_handler(handler)

            async def handle(event: ReceivedEvent) -> None:
                said = event.data
                if not isinstance(said, MessageAppended) or said.message.role is not Role.USER:
                    return
                message = ReceivedMessage.by(self, event)
                if not typing or said.platform == Platform.API:
                    await handler(message)
                    return
                async with self._at_work.while_at_work(message.at_work()):
                    await handler(message)

            self.on(*patterns, durable=durable, ordered=ordered, concurrency=concurrency)(handle)
            return handler

        return register

    async def start(self) -> None:
        """Start the subscriptions that are not running yet."""
        for subscription in self._subscriptions:
            await subscription.start()

    async def run(self, *, grace: float = GRACE) -> None:
        """Start the subscriptions and handle events until cancelled, or until SIGTERM or SIGINT.

        After a signal nothing more is begun, handlers that are under way have `grace` seconds to finish, and this
        returns; the log says what it waits for. A second signal means what it means without AgentBus. Signals are
        left alone outside the main thread.

        Raises what a subscription from a sequence on ended by; once the session of each such subscription is deleted
        and there is no other subscription, SessionNotFound.
        """
        await self.start()
        with signalled() as stop:
            signal, end = asyncio.create_task(stop.wait()), asyncio.create_task(self._nothing_left())
            refused = None
            try:
                await asyncio.wait({signal, end}, return_when=asyncio.FIRST_COMPLETED)
                refused = end.exception() if end.done() else None
            finally:
                # What ended it is raised below; if this is cancelled at that moment, it is in the log.
                await ended({signal} if refused else {signal, end})
        await self.drain(grace=grace)
        if refused:
            raise refused

    async def _nothing_left(self) -> None:
        """Raise once no subscription can hand over any more, or one has failed."""
        followed = [one for one in self._subscriptions if isinstance(one, CatchUp)]
        refused = await side_by_side(one.over() for one in followed)
        if refused and len(followed) == len(self._subscriptions):
            raise refused[-1]
        await asyncio.Event().wait()

    async def drain(self, *, grace: float = GRACE) -> None:
        """Begin no more events, and wait up to `grace` seconds for the handlers that are under way."""
        await side_by_side(subscription.drain(within=grace) for subscription in self._subscriptions)

    async def close(self) -> None:
        """End the subscriptions. The bus stays open: it belongs to whoever opened it."""
        await in_turn(*(subscription.close for subscription in self._subscriptions), self._at_work.close)

    async def _publish(self, left: list[Routed]) -> None:
        """Publish, again what was not confirmed; repeats are dropped by their id."""
        try:
            await self._inputs.publish(left, within=PUBLISH_DEADLINE)
        except Unroutable:
            await self._bus.check()
            raise


def _why_silent() -> str:
    """Return what may keep a worker from answering: what this process knows itself, as it may be that worker."""
    trouble = trouble_now()
    return f"{trouble}." if trouble else "is a session worker running?"


@asynccontextmanager
async def connect(amqp_url: str | None = None, **settings: object) -> AsyncIterator[AgentBus]:
    """Connect to the broker and yield a client; what is not given comes from the environment.

    A broker that does not answer is given up after 2.5 s, unless `broker_timeout` (seconds) is given or in the
    environment: a program that may start before its broker sets it. Log lines go to the standard library's `logging`,
    unless the program has set up structlog, or our logs, itself.
    With `traces` set it tells spans to the provider that the program has set in OpenTelemetry.
    Raises BrokerUnavailable, BrokerRejected, ConfigurationError; InstallationMismatch if the installation has another
    number of partitions, or another scope.
    """
    from agentbus.composition.tracing import tracing  # noqa: PLC0415 - as below
    from agentbus.settings import in_a_hurry, load_settings  # noqa: PLC0415 - the session library does without

    configure_library_logs()
    chosen = in_a_hurry(load_settings(amqp_url=amqp_url, **settings))
    with tracing(chosen):
        async with make_bus(chosen) as bus:
            await bus.check()
            client = AgentBus(bus, scope=chosen.session.scope)
            try:
                yield client
            finally:
                await client.close()


class SyncAgentBus:
    """The client for scripts without an event loop: the same calls, blocking."""

    def __init__(self, client: AgentBus, portal: "BlockingPortal") -> None:
        self._client = client
        self._portal = portal

    def publish(self, message: InboundMessage, *, input_id: str | None = None) -> Receipt:
        """As `AgentBus.publish`."""
        return self._portal.call(partial(self._client.publish, message, input_id=input_id))

    def publish_many(self, messages: Sequence[InboundMessage]) -> list[Receipt]:
        """As `AgentBus.publish_many`."""
        return self._portal.call(self._client.publish_many, messages)

    def send(self, command: AnyCommand, *, command_id: str | None = None, timeout: float = 10.0) -> CommandReply:
        """As `AgentBus.send`."""
        return self._portal.call(partial(self._client.send, command, command_id=command_id, timeout=timeout))

    def session(self, session_id: str, *, user_id: str | None = None) -> SessionState:
        """As `AgentBus.session`."""
        return self._portal.call(partial(self._client.session, session_id, user_id=user_id))

    def history(
        self, session_id: str, *, limit: int = 50, cursor: str | None = None, user_id: str | None = None
    ) -> Page[HistoryMessage]:
        """As `AgentBus.history`."""
        call = partial(self._client.history, session_id, limit=limit, cursor=cursor, user_id=user_id)
        return self._portal.call(call)


@contextmanager
def connect_sync(amqp_url: str | None = None, **settings: object) -> Iterator[SyncAgentBus]:
    """Connect as `connect` does, for a script: the client it yields blocks until each call is done."""
    from anyio.from_thread import start_blocking_portal  # noqa: PLC0415 - only scripts need it

    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(connect(amqp_url, **settings)) as client,
    ):
        yield SyncAgentBus(client, portal)
