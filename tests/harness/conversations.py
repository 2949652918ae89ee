"""Builders for what goes in: addresses, messages, inputs."""

from datetime import UTC, datetime

from agentbus.contracts.address import Address, Platform
from agentbus.contracts.commands import AnyCommand
from agentbus.contracts.envelope import Input
from agentbus.contracts.ids import ConversationId, InputId
from agentbus.contracts.messages import Content, InboundMessage, TextContent

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
CONVERSATION = ConversationId("a" * 26)


def address(chat: str = "lobby", user: str = "ada", platform: Platform = Platform.TELEGRAM) -> Address:
    return Address(platform=platform, chat=chat, user=user)


def message(
    number: int | str = 1,
    text: str = "hello",
    *,
    content: Content | None = None,
    chat: str = "lobby",
    user: str = "ada",
    sent_at: datetime = NOW,
) -> InboundMessage:
    return InboundMessage(
        address=address(chat, user),
        message_id=str(number),
        sent_at=sent_at,
        content=content or TextContent(text=text),
    )


def given(data: InboundMessage | AnyCommand, input_id: str | None = None) -> Input:
    if input_id is None:
        input_id = data.input_id() if isinstance(data, InboundMessage) else f"{data.kind}-1"
    return Input(InputId(input_id), data)
