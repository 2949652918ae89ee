"""Requests and replies by RabbitMQ's direct reply-to (https://www.rabbitmq.com/docs/direct-reply-to)."""

import asyncio
from dataclasses import replace
from uuid import uuid4

from aiormq import spec
from aiormq.abc import DeliveredMessage
from aiormq.channel import Channel

from agentbus.contracts.errors import ReplyTimeout
from agentbus.contracts.topology import DIRECT_REPLY_TO
from agentbus.workers.bus.port import Delivery, Message
from agentbus.workers.bus.rabbit.connections import DRIVER_ERRORS, Link, called, close_channel, is_usable
from agentbus.workers.bus.rabbit.failures import channel_failure, publish_failure
from agentbus.workers.bus.rabbit.publisher import Publisher


class Requests:
    """Publishes requests and takes their replies, which come back on the channel that published."""

    def __init__(self, link: Link, *, timeout: float, window: int, user: str | None) -> None:
        self._publisher = Publisher(link, timeout=timeout, window=window, user=user, on_channel=self._take_replies)
        self._open: dict[str, asyncio.Future[bytes]] = {}

    async def request(self, exchange: str, routing_key: str, message: Message, *, timeout: float) -> bytes:
        """Publish a request and wait for its reply, as `Bus.request` promises."""
        correlation = uuid4().hex
        reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._open[correlation] = reply
        asked = replace(message, correlation_id=correlation, reply_to=DIRECT_REPLY_TO)
        try:
            async with asyncio.timeout(timeout):
                await self._publisher.publish(exchange, routing_key, asked, mandatory=True)
                return await reply
        except TimeoutError as error:
            raise ReplyTimeout(f"no reply within {timeout:g} s: retry with the same command id") from error
        finally:
            del self._open[correlation]
            reply.cancel()

    async def close(self) -> None:
        """Stop; open requests end with ReplyTimeout. Idempotent."""
        await self._publisher.close()
        self._fail_open()

    async def _take_replies(self, channel: Channel) -> None:
        channel.closing.add_done_callback(lambda _: self._fail_open())
        try:
            await called(channel.basic_consume(DIRECT_REPLY_TO, self._on_reply, no_ack=True))
        except DRIVER_ERRORS as error:
            raise channel_failure(error, "consuming replies") from error

    async def _on_reply(self, message: DeliveredMessage) -> None:
        reply = self._open.get(message.header.properties.correlation_id or "")
        if reply is not None and not reply.done():
            reply.set_result(message.body)

    def _fail_open(self) -> None:
        """End the open requests: replies are bound to the channel that published."""
        for reply in self._open.values():
            if not reply.done():
                reply.set_exception(ReplyTimeout("the connection was lost before the reply: retry with the same id"))


class Replies:
    """Publishes replies, unconfirmed, on a channel of their own."""

    def __init__(self, link: Link, *, timeout: float) -> None:
        self._link = link
        self._timeout = timeout
        self._channel: Channel | None = None
        self._opening = asyncio.Lock()

    async def reply(self, delivery: Delivery, body: bytes) -> None:
        """Answer a request, as `Bus.reply` promises."""
        if delivery.reply_to is None:
            return
        properties = spec.Basic.Properties(correlation_id=delivery.correlation_id, delivery_mode=1)
        try:
            async with asyncio.timeout(self._timeout):
                channel = await self._open_channel()
                await channel.connection.ready()
                await channel.basic_publish(body, routing_key=delivery.reply_to, properties=properties, wait=False)
        except DRIVER_ERRORS as error:
            raise publish_failure(error, "", delivery.reply_to) from error

    async def close(self) -> None:
        """Close the channel. Idempotent."""
        channel, self._channel = self._channel, None
        if channel is not None and is_usable(channel):
            await close_channel(channel)

    async def _open_channel(self) -> Channel:
        async with self._opening:
            if self._channel is None or not is_usable(self._channel):
                self._channel = await self._link.channel()
            return self._channel
