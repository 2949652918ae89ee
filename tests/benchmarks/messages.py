"""The messages of a run: real envelopes with texts of everyday length, in two shapes of load."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from random import Random
from typing import Final

from agentbus.contracts.address import Address, Platform, Scope, conversation_id_for
from agentbus.contracts.envelope import InputEnvelope
from agentbus.contracts.ids import ConversationId
from agentbus.contracts.messages import InboundMessage, TextContent

Talk = Iterator[tuple[str, int]]
"""Who speaks, and the number of the message within their conversation, in the order of publishing."""

_SENT_AT: Final = datetime(2026, 1, 1, 12, tzinfo=UTC)
_WORDS: Final = (
    "hello",
    "there",
    "could",
    "you",
    "please",
    "tell",
    "me",
    "when",
    "my",
    "order",
    "will",
    "arrive",
    "thanks",
)
_LENGTHS: Final = range(4, 40)


def interleaved(name: str, users: int, each: int, first: int = 1) -> Talk:
    """Everybody says one message after the other, in turn."""
    return ((f"{name}-{user}", number) for number in range(first, first + each) for user in range(users))


def bursts(name: str, users: int, each: int, first: int = 1) -> Talk:
    """Everybody says all their messages in a row."""
    return ((f"{name}-{user}", number) for user in range(users) for number in range(first, first + each))


def newcomers(name: str, users: int, each: int, first: int = 1) -> Talk:
    """Everybody speaks in turn, and each tenth message is the first, and the only one, of somebody new."""
    for spoken, one in enumerate(interleaved(name, users, each, first), start=1):
        yield one
        if not spoken % 9:
            yield f"{name}-new-{first}-{spoken}", 1


SHAPES: Final[dict[str, Callable[[str, int, int, int], Talk]]] = {
    "interleaved": interleaved,
    "bursts": bursts,
    "newcomers": newcomers,
}


def conversations(name: str, users: int) -> list[ConversationId]:
    """Return the conversations of the people of that name, in their order."""
    return [conversation_id_for(_address(f"{name}-{user}"), Scope.PER_CHAT_USER) for user in range(users)]


def message_of(user: str, number: int) -> InboundMessage:
    """Return a person's message; the same for the same arguments."""
    random = Random(f"{user}/{number}")
    text = " ".join(random.choices(_WORDS, k=random.choice(_LENGTHS)))
    return InboundMessage(
        address=_address(user),
        message_id=str(number),
        sent_at=_SENT_AT,
        sender_name=user.title(),
        content=TextContent(text=text),
    )


def envelope_of(user: str, number: int) -> tuple[ConversationId, InputEnvelope]:
    """Return the conversation and the envelope of a message, as the client makes them."""
    message = message_of(user, number)
    envelope = InputEnvelope(id=message.input_id(), source="/agentbus/client", data=message)
    conversation = envelope.conversation(Scope.PER_CHAT_USER)
    return conversation, envelope.model_copy(update={"partitionkey": conversation})


def _address(user: str) -> Address:
    return Address(platform=Platform.TELEGRAM, chat=f"chat-{user}", user=user)
