"""Who waits for news of a conversation on this gateway, and is woken when something is announced of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from agentbus.contracts.address import Scope
from agentbus.contracts.events import ConversationErased, MessageAppended, MessageDeleted, MessageEdited, SessionDeleted
from agentbus.contracts.ids import ConversationId
from agentbus.contracts.writing import Writing, WritingEnvelope
from agentbus.workers.adapters.port import Heard
from agentbus.workers.bus.port import Bus, Consumer, Delivery
from agentbus.workers.bus.pump import Pump
from agentbus.workers.bus.supervision import SupervisedConsumer
from agentbus.workers.concurrency import in_turn, side_by_side
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
_PREFETCH: Final = 500


def _topics_of(platform: str, scope: Scope) -> tuple[str, ...]:
    """Return where the news of a channel is announced.

    In the scope of one conversation for all, an event bears the platform of whoever spoke last.
    """
    return tuple(f"session.{word}.{'*' if scope is Scope.MAIN else platform}" for word in _WORDS)


class Listening:
    """Wakes those who wait, by a live subscription: what is announced while it is down is not heard.

    So all are woken once it is there again, and look for themselves.
    """

    def __init__(self, bus: Bus, platform: str, scope: Scope) -> None:
        self._bus = bus
        self._topics = _topics_of(platform, scope)
        self._writings = Writings(bus, [platform], self._write)
        self._waiting: dict[ConversationId, list[Heard]] = {}
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
        await self._writings.start()

    async def close(self) -> None:
        """Stop. Idempotent."""
        await in_turn(self._writings.close, self._consumer.close, self._pump.close)

    @contextmanager
    def to(self, conversation: ConversationId) -> Iterator[Heard]:
        """Let somebody hear of a conversation, also when there may only be something."""
        heard = Heard()
        self._waiting.setdefault(conversation, []).append(heard)
        try:
            yield heard
        finally:
            left = [one for one in self._waiting[conversation] if one is not heard]
            if left:
                self._waiting[conversation] = left
            else:
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

    def _wake(self, conversation: ConversationId, writing: Writing | None = None) -> None:
        for heard in self._waiting.get(conversation, ()):
            heard.writing = writing or heard.writing
            heard.woken.set()

    def _write(self, told: WritingEnvelope) -> None:
        # Each tells all of it: of what comes faster than it is shown the last is enough.
        self._wake(ConversationId(told.partitionkey), told.data)


async def _let_go(delivery: Delivery, _: Exception) -> None:
    await delivery.ack()
