"""Keeping a consumer going through lost connections."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Final

from agentbus.contracts.errors import BrokerUnavailable
from agentbus.workers.bus.port import Consumer
from agentbus.workers.concurrency import ended
from agentbus.workers.outages import Trouble
from agentbus.workers.patience import Patience

OnLost = Callable[[], None]
"""Called synchronously before the queue is consumed again: drop what is held of it."""

Consume = Callable[[], Awaitable[Consumer]]

_MOST_SECONDS: Final = 5.0
_GROWN_UP: Final = 10.0
"""Seconds after which a consumer that is lost did not die young."""


def longest_pause(young: int, first_wait: float) -> float:
    """Return how many seconds to wait at most before the next consumer, if the last `young` ones died young."""
    return min(first_wait * 2 ** min(young, 16), _MOST_SECONDS) if young > 1 else 0.0


class SupervisedConsumer:
    """Starts a consumer, and starts it again whenever it was lost, waiting with jitter while that fails.

    `SupervisedConsumer(queue, partial(bus.consume, queue, on_delivery, prefetch=20), on_lost)`; likewise with
    `bus.subscribe`. `first_wait` is the upper bound of the first wait in seconds; it doubles up to 5. One that dies
    within 10 s of its start is started again at once the first time, and after longer and longer waits if that goes on:
    perhaps it is what it consumes that kills it, and its connection with it.
    """

    def __init__(self, queue: str, consume: Consume, on_lost: OnLost, *, first_wait: float = 0.1) -> None:
        self._queue = queue
        self._consume = consume
        self._on_lost = on_lost
        self._first_wait = first_wait
        self._consumer: Consumer | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._reopening = False

    @property
    def running(self) -> bool:
        """Whether it consumes, and will again when that is lost."""
        return self._keeping is not None and not self._keeping.done()

    async def start(self) -> None:
        """Consume. Raises what the first attempt raises; later ones are repeated until `close`."""
        self._consumer = await self._consume()
        self._keeping = asyncio.create_task(self._keep(self._consumer), name=f"consume {self._queue}")

    async def reopen(self) -> None:
        """Let go of the consumer as if it were lost: what it holds goes back, and the queue is consumed again."""
        if self._consumer is not None:
            self._reopening = True
            await self._consumer.close()
            self._consumer.lost.set()

    async def close(self) -> None:
        """End it; what is unacknowledged goes back to the queue. Idempotent."""
        try:
            await ended({self._keeping} if self._keeping else ())
        finally:
            if self._consumer is not None:
                await self._consumer.close()

    async def _keep(self, consumer: Consumer) -> None:
        young = 0
        while True:
            begun = monotonic()
            await consumer.lost.wait()
            young = 0 if self._reopening or monotonic() - begun > _GROWN_UP else young + 1
            trouble = Trouble(f"consume {self._queue}")
            if not self._reopening:
                trouble.failed(BrokerUnavailable("the consumer was lost"))
            self._reopening = False
            self._on_lost()
            try:
                await asyncio.sleep(random.uniform(0.5, 1) * longest_pause(young, self._first_wait))
                self._consumer = consumer = await self._consume_again(trouble)
            finally:
                trouble.over()

    async def _consume_again(self, trouble: Trouble) -> Consumer:
        # Whatever it is: nobody else would start it again, and the queue would be consumed by nobody.
        patience = Patience(transient=(Exception,), first_wait=self._first_wait, longest_wait=_MOST_SECONDS)
        return await patience.call(self._consume, waiting=trouble.retrying)
