"""Who waits for news of a conversation on this gateway, and is woken when something is announced of it."""

from typing import Final

from agentbus.contracts.address import Scope
from agentbus.contracts.events import ConversationErased, MessageAppended, MessageDeleted, MessageEdited, SessionDeleted
from agentbus.contracts.ids import ConversationId
from agentbus.contracts.writing import WritingEnvelope
from agentbus.workers.adapters.port import Heard
from agentbus.workers.bus.port import Bus
from agentbus.workers.concurrency import in_turn
from agentbus.workers.delivery.waking import Waking
from agentbus.workers.delivery.writings import Writings

_WORDS: Final = (
    MessageAppended.topic,
    "reply",
    MessageEdited.topic,
    MessageDeleted.topic,
    SessionDeleted.topic,
    ConversationErased.topic,
)
"""The middle words of the topics that something to be shown is announced on."""


def _topics_of(platform: str, scope: Scope) -> tuple[str, ...]:
    """Return where the news of a channel is announced.

    In the scope of one conversation for all, an event bears the platform of whoever spoke last.
    """
    return tuple(f"session.{word}.{'*' if scope is Scope.MAIN else platform}" for word in _WORDS)


class Listening(Waking[Heard]):
    """Wakes those who wait, and tells them what reads a reply that is being written."""

    def __init__(self, bus: Bus, platform: str, scope: Scope) -> None:
        super().__init__(bus, _topics_of(platform, scope), Heard, what="news for visitors")
        self._writings = Writings(bus, [platform], self._write)

    async def start(self) -> None:
        """Begin to hear."""
        await super().start()
        await self._writings.start()

    async def close(self) -> None:
        """Stop. Idempotent."""
        await in_turn(self._writings.close, super().close)

    def _write(self, told: WritingEnvelope) -> None:
        # Each tells all of it: of what comes faster than it is shown the last is enough.
        for heard in self.waiting(conversation := ConversationId(told.partitionkey)):
            heard.writing = told.data
        self.wake(conversation)
