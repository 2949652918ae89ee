"""Replies that are being written, as whoever shows them hears of them: from now on, and what is missed is missed."""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Final

from pydantic import ValidationError

from agentbus.contracts.writing import WRITING_TOPIC, WritingEnvelope
from agentbus.workers.bus.port import Bus, Delivery
from agentbus.workers.bus.pump import Pump
from agentbus.workers.bus.supervision import SupervisedConsumer
from agentbus.workers.concurrency import in_turn

_PREFETCH: Final = 100

OnWriting = Callable[[WritingEnvelope], None]
"""Called for each announcement: it notes it, and works on it elsewhere. Must not raise."""


class Writings:
    """Listens for replies that are being written to some platforms, through a live subscription of its own."""

    def __init__(self, bus: Bus, platforms: Iterable[str], on_writing: OnWriting) -> None:
        self._on_writing = on_writing
        self._pump = Pump(self._hear, _pass_over, most=_PREFETCH)
        patterns = tuple(f"session.{WRITING_TOPIC}.{platform}" for platform in sorted(platforms))
        self._consumer = SupervisedConsumer(
            "replies being written",
            partial(bus.subscribe, patterns, self._pump.push, prefetch=_PREFETCH),
            on_lost=self._pump.forget,
        )

    async def start(self) -> None:
        """Begin to listen. Raises as `Bus.subscribe` does."""
        await self._pump.start()
        await self._consumer.start()

    async def close(self) -> None:
        """End it. Idempotent."""
        await in_turn(self._consumer.close, self._pump.close)

    async def _hear(self, batch: list[Delivery]) -> None:
        for delivery in batch:
            if (told := _read(delivery.body)) is not None:
                self._on_writing(told)
            await delivery.ack()


def _read(body: bytes) -> WritingEnvelope | None:
    """Return an announcement; None for what is none, or of a later release."""
    try:
        return WritingEnvelope.model_validate_json(body, extra="ignore")
    except ValidationError:
        return None


async def _pass_over(delivery: Delivery, _error: Exception) -> None:
    await delivery.ack()
