"""Who waits for news of a conversation in this process, and is woken when something is announced of it."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, Generic, Protocol, TypeVar

from agentbus.contracts.ids import ConversationId
from agentbus.workers.bus.port import Bus, Consumer, Delivery
from agentbus.workers.bus.pump import Pump
from agentbus.workers.bus.supervision import SupervisedConsumer
from agentbus.workers.concurrency import in_turn, side_by_side

_PREFETCH: Final = 500


class _Wakeable(Protocol):
    woken: asyncio.Event


@dataclass(slots=True, eq=False)
class Woken:
    """What reaches somebody who waits for news of a conversation."""

    woken: asyncio.Event = field(default_factory=asyncio.Event)
    """Set whenever something may have been committed. Whoever clears it and then reads the log misses nothing for
    long. Now and then nothing is heard, so it is worth a look without it."""


Waiter = TypeVar("Waiter", bound=_Wakeable)


class Waking(Generic[Waiter]):
    """Wakes those who wait, by one live subscription: what is announced while it is down is not heard.

    So all are woken once it is there again, and look for themselves. No event is read. `on_news` is called for each
    batch of events, whatever they are of, and after an outage.
    """

    def __init__(
        self,
        bus: Bus,
        topics: Sequence[str],
        waiter: Callable[[], Waiter],
        *,
        what: str,
        on_news: Callable[[], None] = lambda: None,
    ) -> None:
        self._bus = bus
        self._topics = tuple(topics)
        self._waiter = waiter
        self._on_news = on_news
        self._waiting: dict[ConversationId, list[Waiter]] = {}
        self._pump = Pump(self._hear, _let_go, most=_PREFETCH)
        self._consumer = SupervisedConsumer(what, self._subscribe, self._pump.forget)

    def __len__(self) -> int:
        """How many conversations somebody waits for."""
        return len(self._waiting)

    @property
    def running(self) -> bool:
        """Whether it hears, and will again when that is lost."""
        return self._consumer.running and self._pump.running

    async def start(self) -> None:
        """Begin to hear. Raises as `Bus.subscribe` does."""
        await self._pump.start()
        await self._consumer.start()

    async def close(self) -> None:
        """Stop. Idempotent."""
        await in_turn(self._consumer.close, self._pump.close)

    @contextmanager
    def to(self, conversation: ConversationId) -> Iterator[Waiter]:
        """Let somebody hear of a conversation, also when there may only be something."""
        waiter = self._waiter()
        self._waiting.setdefault(conversation, []).append(waiter)
        try:
            yield waiter
        finally:
            left = [one for one in self._waiting[conversation] if one is not waiter]
            if left:
                self._waiting[conversation] = left
            else:
                del self._waiting[conversation]

    def waiting(self, conversation: ConversationId) -> Sequence[Waiter]:
        """Return those who wait for a conversation."""
        return self._waiting.get(conversation, ())

    def wake(self, conversation: ConversationId) -> None:
        """Wake those who wait for a conversation."""
        for waiter in self._waiting.get(conversation, ()):
            waiter.woken.set()

    async def _subscribe(self) -> Consumer:
        consumer = await self._bus.subscribe(self._topics, self._pump.push, prefetch=_PREFETCH)
        for conversation in self._waiting:
            self.wake(conversation)
        self._on_news()
        return consumer

    async def _hear(self, batch: list[Delivery]) -> None:
        for delivery in batch:
            # An event's id is `<conversation>.<generation>/<sequence>`: there is no need to read it.
            self.wake(ConversationId(delivery.message_id.partition(".")[0]))
        self._on_news()
        await side_by_side(delivery.ack() for delivery in batch)


async def _let_go(delivery: Delivery, _: Exception) -> None:
    await delivery.ack()
