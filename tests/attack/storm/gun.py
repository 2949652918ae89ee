"""The sender of hostile messages: raw frames on a connection of its own."""

import asyncio
import time
from collections.abc import Iterable
from itertools import islice
from typing import Final, Self

from aiormq.abc import ChannelFrame, DeliveredMessage
from aiormq.channel import Channel
from pamqp.common import FieldValue
from pydantic import ValidationError

from agentbus.contracts.commands import CommandReply
from agentbus.workers.bus.rabbit.connections import Link
from tests.attack.crafted.hostile import REPLIES, Shot
from tests.harness.raw_amqp import publishing, short

_TOGETHER: Final = 20


class Gun:
    """Sends shots, and keeps the replies that come back, by the number of the shot that asked.

    Those of somebody who may give commands name `user`.
    """

    def __init__(self, amqp_url: str, *, user: str) -> None:
        self._user = short(user.encode())
        self._link = Link(amqp_url, name="hostile", heartbeat=10, wait=30)
        self._channel: Channel | None = None
        self.sent: list[Shot] = []
        self.replies: dict[int, CommandReply] = {}

    async def __aenter__(self) -> Self:
        self._channel = await self._link.channel(frame_buffer=1000)
        await self._channel.basic_consume(REPLIES, self._on_reply, no_ack=True, timeout=10)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._link.close()

    async def clog(self, exchange: str, *, seconds: float) -> None:
        """Subscribe to everything for a while with a queue that is full at once and refuses what comes then."""
        assert self._channel
        queue = "hostile.full"
        arguments: dict[str, FieldValue] = {"x-max-length": 1, "x-overflow": "reject-publish"}
        await self._channel.queue_declare(queue, arguments=arguments, timeout=10)
        await self._channel.queue_bind(queue, exchange, "#", timeout=10)
        await asyncio.sleep(seconds)
        await self._channel.queue_delete(queue, timeout=10)

    async def fire(self, shots: Iterable[Shot], *, rate: float) -> float:
        """Send at `rate` a second, as far as the broker takes them; return after how many seconds it had them all."""
        assert self._channel
        begun = due = time.monotonic()
        shots = iter(shots)
        while batch := list(islice(shots, _TOGETHER)):
            for shot in batch:
                await self._send(self._channel, shot)
            due += len(batch) / rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        # The broker handles a channel's frames in order: an answer says that it has routed all before it.
        await self._channel.basic_qos(prefetch_count=0, timeout=120)
        return time.monotonic() - begun

    async def _send(self, channel: Channel, shot: Shot) -> None:
        if channel.closing.done():
            raise RuntimeError(f"the broker refused a shot: {channel.closing.exception()}")
        properties = dict(shot.properties)
        if shot.listed:
            properties["user_id"] = self._user  # the broker lets nobody name another one
        if shot.asks:
            properties["correlation_id"] = short(b"%d" % len(self.sent))
        self.sent.append(shot)
        payload = publishing(channel.number, shot.exchange, shot.routing_key, shot.body, properties)
        await channel.write_queue.put(ChannelFrame(payload=payload, should_close=False))

    async def _on_reply(self, message: DeliveredMessage) -> None:
        number = message.header.properties.correlation_id
        try:
            self.replies[int(number or "")] = CommandReply.model_validate_json(message.body)
        except (ValueError, ValidationError):
            return  # somebody else's, or forged
