"""Who waits for news of a conversation on this gateway, and is woken when something is announced of it."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from agentbus.contracts.address import Scope
from agentbus.contracts.events import ConversationErased, MessageAppended, MessageDeleted, MessageEdited, SessionDeleted
from agentbus.contracts.ids import ConversationId
from agentbus.workers.bus.port import Bus, Consumer, Delivery
from agentbus.workers.bus.pump import Pump
from agentbus.workers.bus.supervision import SupervisedConsumer
from agentbus.workers.concurrency import in_turn, side_by_side

_WORDS: Final = (
    MessageAppended.topic,
    "reply",
    MessageEdited.topic,
    MessageDeleted.topic,
    SessionDeleted.topic,
    ConversationErased.topic,
)
"""The middle words of the topics that something to be shown is announced on."""
_PREFETCH: Final = 500


def topics_of(platform: str, scope: Scope) -> tuple[str, ...]:
    """Return where the news of a channel is announced.

    In the scope of one conversation for all, an event bears the platform of whoever spoke last.
    """
    return tuple(f"session.{word}.{'*' if scope is Scope.MAIN else platform}" for word in _WORDS)


class Listening:
    """Wakes those who wait, by a live subscription: what is announced while it is down is not heard.

    So all are woken once it is there again, and look for themselves.
    """

    def __init__(self, bus: Bus, topics: tuple[str, ...]) -> None:
        self._bus = bus
        self._topics = topics
        self._waiting: dict[ConversationId, set[asyncio.Event]] = {}
        self._pump = Pump(self._hear, _let_go, most=_PREFETCH)
        self._consumer = SupervisedConsumer("news for visitors", self._subscribe, self._pump.forget)

    def __len__(self) -> int:
        """How many conversations somebody waits for."""
        return len(self._waiting)

    @property
    def running(self) -> bool:
        """Whether it hears, and will again when that is lost."""
        return self._consumer.running and self._pump.running

    async def start(self) -> None:
        """Begin to hear."""
        await self._pump.start()
        await self._consumer.start()

    async def close(self) -> None:
        """Stop. Idempotent."""
        await in_turn(self._consumer.close, self._pump.close)

    @contextmanager
    def to(self, conversation: ConversationId) -> Iterator[asyncio.Event]:
        """Give an event that is set whenever something was announced of a conversation, or may have been."""
        woken = asyncio.Event()
        self._waiting.setdefault(conversation, set()).add(woken)
        try:
            yield woken
        finally:
            others = self._waiting[conversation]
            others.discard(woken)
            if not others:
                del self._waiting[conversation]

    async def _subscribe(self) -> Consumer:
        consumer = await self._bus.subscribe(self._topics, self._pump.push, prefetch=_PREFETCH)
        for conversation in self._waiting:
            self._wake(conversation)
        return consumer

    async def _hear(self, batch: list[Delivery]) -> None:
        for delivery in batch:
            # An event's id is `<conversation>.<generation>/<sequence>`: there is no need to read it.
            self._wake(ConversationId(delivery.message_id.partition(".")[0]))
        await side_by_side(delivery.ack() for delivery in batch)

    def _wake(self, conversation: ConversationId) -> None:
        for woken in self._waiting.get(conversation, ()):
            woken.set()


async def _let_go(delivery: Delivery, _: Exception) -> None:
    await delivery.ack()
