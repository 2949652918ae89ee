"""Events on a detour: between the announcement and a subscription each is repeated and shuffled with others."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from random import Random
from types import TracebackType
from typing import Final, Self

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractRobustConnection

from agentbus.contracts.topology import Topology

WINDOW: Final = 50
"""Events among which one is shuffled."""
_LINGER: Final = 0.25
"""Seconds that a window waits for more."""


class Detour:
    """Takes the events of some topics and puts each 1 to 3 times, shuffled, into a subscription's queue.

    The subscription's own queue must not be bound itself. Nothing is lost here: an event is acknowledged once all of
    its copies were confirmed.
    """

    def __init__(self, amqp_url: str, topology: Topology, subscription: str, topics: Sequence[str], random: Random):
        self._url = amqp_url
        self._topology = topology
        self._target = topology.subscription_queue(subscription)
        self._topics = topics
        self._random = random
        self._waiting: asyncio.Queue[AbstractIncomingMessage] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None
        self._connection: AbstractRobustConnection | None = None
        self.events = 0
        """Events that came by."""
        self.copies = 0
        """What the subscription got."""

    @property
    def queues(self) -> tuple[str, ...]:
        """The queues that events wait in: before the detour and after it."""
        return f"{self._target}.detour", self._target

    async def __aenter__(self) -> Self:
        self._connection = await aio_pika.connect_robust(self._url)
        channel = await self._connection.channel(publisher_confirms=True)
        await channel.set_qos(prefetch_count=WINDOW)
        queue = await channel.declare_queue(self.queues[0], durable=True)
        for topic in self._topics:
            await queue.bind(self._topology.events, topic)
        await queue.consume(self._waiting.put)
        self._task = asyncio.create_task(self._run(channel))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        if self._connection:
            await self._connection.close()

    async def _run(self, channel: AbstractChannel) -> None:
        while True:
            window = await self._window()
            copies = [one for one in window for _ in range(self._random.randint(1, 3))]
            self._random.shuffle(copies)
            for one in copies:
                message = aio_pika.Message(
                    one.body,
                    message_id=one.message_id,
                    content_type=one.content_type,
                    delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
                )
                await channel.default_exchange.publish(message, self._target, mandatory=True)
            for one in window:
                await one.ack()
            self.events += len(window)
            self.copies += len(copies)

    async def _window(self) -> list[AbstractIncomingMessage]:
        window = [await self._waiting.get()]
        with suppress(TimeoutError):
            async with asyncio.timeout(_LINGER):
                while len(window) < WINDOW:
                    window.append(await self._waiting.get())
        return window
