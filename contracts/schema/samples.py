"""Samples of what travels, with fixed values: the examples of the AsyncAPI document."""

from datetime import UTC, datetime
from typing import Final

from agentbus.contracts.address import Address, Platform, Scope, conversation_id_for
from agentbus.contracts.commands import CommandReply, SetData
from agentbus.contracts.envelope import EventEnvelope, InputEnvelope
from agentbus.contracts.events import MessageAppended
from agentbus.contracts.ids import session_id_for
from agentbus.contracts.messages import InboundMessage, Role, SessionMessage, TextContent

_AT: Final = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
_ADDRESS: Final = Address(platform=Platform.TELEGRAM, account="support_bot", chat="-1001", user="42")

CONVERSATION: Final = conversation_id_for(_ADDRESS, Scope.PER_CHAT_USER)
"""The conversation that all samples belong to."""

_SESSION: Final = session_id_for(CONVERSATION, 1)
_MESSAGE: Final = InboundMessage(
    address=_ADDRESS, message_id="7", sent_at=_AT, sender_name="Ada", content=TextContent(text="Hello")
)

MESSAGE: Final = InputEnvelope(
    id=_MESSAGE.input_id(), source="/example/publisher", time=_AT, partitionkey=CONVERSATION, data=_MESSAGE
)
"""A chat message on its way in."""

COMMAND: Final = InputEnvelope(
    id="b7c1f0de", source="/example/caller", time=_AT, data=SetData(session_id=_SESSION, values={"language": "en"})
)
"""A command that finds its conversation by the session's id."""

EVENT: Final = EventEnvelope.of(
    MessageAppended(
        session_id=_SESSION,
        sequence=2,
        at=_AT,
        cause=MESSAGE.input_id,
        platform=_ADDRESS.platform,
        message=SessionMessage(
            key=_MESSAGE.key,
            message_id=_MESSAGE.message_id,
            role=Role.USER,
            address=_ADDRESS,
            author=_MESSAGE.sender_name,
            sent_at=_AT,
            content=TextContent(text="Hello"),
        ),
    )
)
"""The announcement that the message entered its session."""

REPLY: Final = CommandReply(command_id=COMMAND.input_id, session_id=_SESSION, version=2)
"""The answer to the command."""
