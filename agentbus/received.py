"""An event as a handler gets it: what was announced, and what a bot does about it."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, Self, TypeVar, cast

from pydantic import PrivateAttr

from agentbus.contracts.address import Address
from agentbus.contracts.commands import AnyCommand, CommandReply, DeleteMessage, EditMessage, React, SendReply
from agentbus.contracts.envelope import EventEnvelope
from agentbus.contracts.events import MessageAppended
from agentbus.contracts.history import HistoryMessage, Page
from agentbus.contracts.ids import ConversationId
from agentbus.contracts.messages import OutboundMessage, SessionMessage, TextContent, as_line
from agentbus.contracts.session import SessionState
from agentbus.contracts.writing import Writing
from agentbus.writing import Telling, WrittenReply, written


class Sender(Protocol):
    """What an event needs of the client that it came by."""

    async def send(
        self,
        command: AnyCommand,
        *,
        to: ConversationId | None = None,
        command_id: str | None = None,
        timeout: float = 10.0,
    ) -> CommandReply:
        """Send a command, as `AgentBus.send` does."""

    async def session(self, session_id: str, *, timeout: float = 10.0) -> SessionState:
        """Return a session's state, as `AgentBus.session` does."""

    async def history(
        self, session_id: str, *, limit: int = 50, cursor: str | None = None, timeout: float = 10.0
    ) -> Page[HistoryMessage]:
        """Return a page of a session's messages, as `AgentBus.history` does."""

    async def tell_writing(self, session_id: str, writing: Writing, *, timeout: float = 10.0) -> None:
        """Have it announced what a reply reads that is being written, as `AgentBus.tell_writing` does."""


class SentReply(CommandReply):
    """The answer to a reply that was said: it may be changed, and taken back."""

    _sender: Sender | None = PrivateAttr(default=None)

    @classmethod
    def by(cls, sender: Sender, reply: CommandReply) -> Self:
        """Return the answer to a reply that was said by a client."""
        said = cls.model_construct(_fields_set=reply.model_fields_set, **reply.__dict__)
        said._sender = sender  # noqa: SLF001 - its own class
        return cast("Self", said)

    async def edit(self, text: str, *, timeout: float = 10.0) -> CommandReply:
        """Let it say something else: in the session at once, at its platform in a moment, if that can be changed there.

        Which became of it is told by `session.updated.*`: `reply_edited`, or `reply_unchanged` with the reason. It
        can't become more messages than it was sent as. Of a conversation the last 16 that were sent can be changed
        at their platform. Raises as `AgentBus.send` does.
        """
        return await self._change(EditMessage(session_id=self.session_id, target=self._key(), text=text), timeout)

    async def delete(self, *, timeout: float = 10.0) -> CommandReply:
        """Take it back, as `edit` changes it; what was not sent yet is not sent."""
        return await self._change(DeleteMessage(session_id=self.session_id, target=self._key()), timeout)

    def _key(self) -> str:
        if self.message is None:
            raise RuntimeError("nothing is known to change: the session worker that answered is of an earlier release")
        return self.message

    async def _change(self, command: AnyCommand, timeout: float) -> CommandReply:
        assert self._sender is not None  # noqa: S101 - `by` is how one comes about
        return await self._sender.send(command, timeout=timeout)


class ReceivedEvent(EventEnvelope):
    """An announced event, in the hands of a handler."""

    _sender: Sender | None = PrivateAttr(default=None)
    _replies: int = PrivateAttr(default=0)

    @classmethod
    def by(cls, sender: Sender, event: EventEnvelope) -> Self:
        """Return `event` as one that came by a client, new for every call of its handler."""
        received = cls.model_construct(_fields_set=event.model_fields_set, **event.__dict__)
        received._sender = sender  # noqa: SLF001 - its own class
        return cast("Self", received)

    async def reply(self, text: str | OutboundMessage, *, timeout: float = 10.0) -> SentReply:
        """Say something in the event's conversation: it goes to where the event's message came from, if it is of one.

        An outbound worker sends it there, and what becomes of it is told by events (`session.sent.*` and others).
        It is Markdown, which each platform gets in its own dialect. What comes back can `edit` and `delete` it.
        The reply's id is made of the event's and of how many replies the handler made before it, so that an event
        which comes again, or a handler that is tried again, is answered once. Raises as `AgentBus.send` does;
        RepliesWaiting while too many replies to the conversation wait to be sent.
        """
        return await self._reply(text, self._next_id(), timeout)

    def writing(self, *, timeout: float = 10.0) -> AbstractAsyncContextManager[WrittenReply[SentReply]]:
        """Write a reply part by part: `async with event.writing() as reply: await reply.write(...)`.

        People see it grow where their platform can show that; it is sent when the block ends. If the block raises
        nothing is sent, and what was shown is marked as broken off, until the handler is tried again. Nothing is sent
        either if nothing was written. `timeout`, in seconds, is for sending it. Raises as `reply` does.
        """
        sender, command_id = self._by(), self._next_id()

        async def tell(writing: Writing) -> None:
            await sender.tell_writing(self.subject, writing)

        async def say(text: str) -> SentReply:
            return await self._reply(text, command_id, timeout)

        return written(Telling(tell, command_id, self._where()), say)

    async def _reply(self, text: str | OutboundMessage, command_id: str, timeout: float) -> SentReply:
        if isinstance(text, str):
            text = OutboundMessage(address=self._where(), content=TextContent(text=text))
        command = SendReply(message=text)
        sender = self._by()
        answer = await sender.send(command, to=self.partitionkey, command_id=command_id, timeout=timeout)
        return SentReply.by(sender, answer)

    def _next_id(self) -> str:
        self._replies += 1
        return f"reply-{self._replies}-{self.id}"

    def _where(self) -> Address | None:
        """Return where the event's message came from, if it is of one."""
        return self.data.message.address if isinstance(self.data, MessageAppended) else None

    def _by(self) -> Sender:
        """Return the client that it came by. Raises RuntimeError if it came by none."""
        if self._sender is None:
            raise RuntimeError("this event did not come by a client: there is nobody to reply through")
        return self._sender


class ReceivedMessage(ReceivedEvent):
    """What somebody wrote, in the hands of a bot."""

    @property
    def message(self) -> SessionMessage:
        """The message as the session keeps it: who wrote it, where, when, and what."""
        assert isinstance(self.data, MessageAppended)  # noqa: S101 - others are not handed over
        return self.data.message

    @property
    def text(self) -> str:
        """What it says: the text, a command as it was typed, what a pressed button says."""
        return as_line(self.message.content)

    def at_work(self) -> Telling:
        """Return what tells people that a handler is at work on this message."""
        sender = self._by()

        async def tell(writing: Writing) -> None:
            await sender.tell_writing(self.subject, writing)

        return Telling(tell, f"typing-{self.id}", self._where())

    async def react(self, reaction: str, *, timeout: float = 10.0) -> CommandReply:
        """React to it: with an emoji, or what the platform calls one (`thumbsup`, a server's own).

        An outbound worker sends it, in turn with the replies, and what becomes of it is told by the same events:
        `session.sent.*`, or `session.failed.*` where the platform has no such thing. Repeating it changes nothing.
        Raises as `reply` does.
        """
        where = self._where()
        if where is None:
            raise RuntimeError("this message came from no channel: there is nothing to react to")
        command = React(message_id=self.message.message_id, where=where, reaction=reaction)
        return await self._by().send(command, to=self.partitionkey, command_id=self._next_id(), timeout=timeout)

    async def session(self, *, timeout: float = 10.0) -> SessionState:
        """Return the session that it is in, as it is now. Raises as `AgentBus.session` does."""
        return await self._by().session(self.subject, timeout=timeout)

    async def history(
        self, *, limit: int = 50, cursor: str | None = None, timeout: float = 10.0
    ) -> Page[HistoryMessage]:
        """Return a page of what was said in the session, this message too. Raises as `AgentBus.history` does."""
        return await self._by().history(self.subject, limit=limit, cursor=cursor, timeout=timeout)


Received = Callable[[ReceivedEvent], Awaitable[Any]]
Handled = TypeVar("Handled", bound=Received)
Answering = TypeVar("Answering", bound=Callable[[ReceivedMessage], Awaitable[Any]])
