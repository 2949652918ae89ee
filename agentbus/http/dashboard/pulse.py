"""The pulse of an installation: what its sessions' owners announce is counted for as long as somebody looks."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from functools import partial
from time import monotonic
from typing import Final

from agentbus.workers.bus.port import Bus, Delivery
from agentbus.workers.bus.pump import Pump
from agentbus.workers.bus.supervision import SupervisedConsumer
from agentbus.workers.concurrency import ended, in_turn

SECONDS: Final = 60
"""Over so many seconds it is counted."""

UNSEEN: Final = 30.0
"""Seconds after the last look at which counting ends."""

_PREFETCH: Final = 500
_MOST: Final = 200


class Pulse:
    """Events that were announced, second by second. A live subscription: nothing is kept for it while nobody looks."""

    def __init__(self, bus: Bus, timer: Callable[[], float] = monotonic) -> None:
        self._timer = timer
        self._counts: deque[tuple[int, int]] = deque(maxlen=SECONDS + 1)
        self._since: float | None = None
        self._looked = timer()
        self._total = 0
        self._changed = asyncio.Event()
        """Of the next change: each has its own."""
        self._pump = Pump(self._count, _pass_over, most=_MOST)
        self._consumer = SupervisedConsumer(
            "session.#",
            partial(bus.subscribe, ("session.#",), self._pump.push, prefetch=_PREFETCH),
            on_lost=self._pump.forget,
        )
        self._starting = asyncio.Lock()
        self._watch: asyncio.Task[None] | None = None

    async def look(self) -> list[int]:
        """Return how many events each of the last seconds had, the current one last; none before it began to count.

        Raises BusError.
        """
        self._looked = self._timer()
        async with self._starting:
            if self._since is None:
                await self._start()
        assert self._since is not None  # noqa: S101 - it was started
        now, first = int(self._timer()), int(self._since)
        counts = dict(self._counts)
        return [counts.get(second, 0) for second in range(max(first, now - SECONDS), now + 1)]

    async def changes(self, *, every: float, beat: float) -> AsyncGenerator[bool, None]:
        """Yield True when something was announced, every `every` seconds at most; False after `beat`, or when woken.

        Raises BusError.
        """
        seen = self._total
        while True:
            await self.look()
            if self._total == seen:
                try:
                    async with asyncio.timeout(beat):
                        await self._changed.wait()
                except TimeoutError:
                    pass
                if self._total == seen:
                    yield False
                continue
            seen = self._total
            yield True
            await asyncio.sleep(every)

    def wake(self) -> None:
        """Have whoever waits for a change look whether to go on."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def close(self) -> None:
        """Count no more. Idempotent."""
        watch, self._watch = self._watch, None
        await in_turn(partial(ended, {watch} if watch else ()), self._stop)

    async def _start(self) -> None:
        self._pump.forget()
        await self._pump.start()
        try:
            await self._consumer.start()
        except BaseException:
            await self._pump.close()
            raise
        self._since = self._timer()
        self._counts.clear()
        self._watch = asyncio.create_task(self._until_unseen(), name="the dashboard's pulse")

    async def _until_unseen(self) -> None:
        while (left := self._looked + UNSEEN - self._timer()) > 0:  # noqa: ASYNC110 - each look moves the time on
            await asyncio.sleep(left)
        async with self._starting:
            self._watch = None
            await self._stop()

    async def _stop(self) -> None:
        self._since = None
        await in_turn(self._consumer.close, self._pump.close)

    async def _count(self, deliveries: list[Delivery]) -> None:
        now = int(self._timer())
        before = self._counts.pop()[1] if self._counts and self._counts[-1][0] == now else 0
        self._counts.append((now, before + len(deliveries)))
        self._total += len(deliveries)
        self.wake()
        for delivery in deliveries:
            await delivery.ack()


async def _pass_over(delivery: Delivery, _: Exception) -> None:
    await delivery.ack()
