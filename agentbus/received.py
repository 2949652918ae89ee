"""An event as a handler gets it: what was announced, and what a bot does about it."""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

from pydantic import PrivateAttr

from agentbus.contracts.commands import AnyCommand, CommandReply, SendReply
from agentbus.contracts.envelope import EventEnvelope
from agentbus.contracts.events import MessageAppended
from agentbus.contracts.ids import ConversationId
from agentbus.contracts.messages import OutboundMessage, TextContent


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


class ReceivedEvent(EventEnvelope):
    """An announced event, in the hands of a handler."""

    _sender: Sender | None = PrivateAttr(default=None)
    _replies: int = PrivateAttr(default=0)

    @classmethod
    def by(cls, sender: Sender, event: EventEnvelope) -> "ReceivedEvent":
        """Return `event` as one that came by a client, new for every call of its handler."""
        received = cls.model_construct(_fields_set=event.model_fields_set, **event.__dict__)
        received._sender = sender  # noqa: SLF001 - its own class
        return received

    async def reply(self, text: str | OutboundMessage, *, timeout: float = 10.0) -> CommandReply:
        """Say something in the event's conversation: it goes to where the event's message came from, if it is of one.

        An outbound worker sends it there, and what becomes of it is told by events (`session.sent.*` and others).
        It is Markdown, which each platform gets in its own dialect.
        The reply's id is made of the event's and of how many replies the handler made before it, so that an event
        which comes again, or a handler that is tried again, is answered once. Raises as `AgentBus.send` does;
        RepliesWaiting while too many replies to the conversation wait to be sent.
        """
        if self._sender is None:
            raise RuntimeError("this event did not come by a client: there is nobody to reply through")
        self._replies += 1
        said = self.data
        where = said.message.address if isinstance(said, MessageAppended) else None
        message = OutboundMessage(address=where, content=TextContent(text=text)) if isinstance(text, str) else text
        command_id = f"reply-{self._replies}-{self.id}"
        return await self._sender.send(
            SendReply(message=message), to=self.partitionkey, command_id=command_id, timeout=timeout
        )


Received = Callable[[ReceivedEvent], Awaitable[Any]]
Handled = TypeVar("Handled", bound=Received)
