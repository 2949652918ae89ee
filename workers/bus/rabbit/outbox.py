"""The one writer of a confirming channel: what is posted is sent in order, many at a time, inside a window."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from typing import Final

from aiormq.channel import Channel, Returning
from aiormq.exceptions import ChannelClosed, PublishError

from agentbus.contracts.errors import BrokerUnavailable, BusError
from agentbus.workers.bus.rabbit.connections import Link, close_channel, is_blocked, is_usable
from agentbus.workers.bus.rabbit.frames import publish_frames, write
from agentbus.workers.bus.rabbit.known_routes import Posted, Routes
from agentbus.workers.concurrency import ended, raise_if_cancelled

NOT_SENT: Final = "not sent: what came before it failed"

OnChannel = Callable[[Channel], Awaitable[None]]


class Outbox:
    """Sends what is posted on a channel of its own, which it opens when there is something to send.

    It uses aiormq's bookkeeping of confirms and returns, and writes the frames of many messages at once. When messages
    in flight fail with their channel, those that wait behind them fail too: sent on another channel they would overtake
    what has to be published again.

    The first message of a channel to a route goes alone, and those behind it follow when it was confirmed: a quorum
    queue that is just getting a leader refuses the first ones of a channel and takes those after them. `together` are
    the exchanges whose messages keep their order across routing keys; of the others each key is a route of its own.
    `user` is whom the messages name as their publisher.
    """

    def __init__(
        self,
        link: Link,
        *,
        window: int,
        patience: float,
        together: Collection[str] = (),
        user: str | None = None,
        on_channel: OnChannel | None = None,
    ) -> None:
        self._link = link
        self._routes = Routes(together)
        self._user = user
        self._window = window
        self._patience = patience
        self._on_channel = on_channel
        self._waiting: deque[Posted] = deque()
        self._in_flight = 0
        self._room = asyncio.Event()
        self._channel: Channel | None = None
        self._sender: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()

    def post(self, posted: Posted) -> None:
        """Queue a message for sending; never waits."""
        self._waiting.append(posted)
        self._wake()

    async def distrust(self, channel: Channel) -> None:
        """Replace a channel on which a message was not confirmed, unless it is because the broker blocks publishers.

        A channel that published to a queue before that had a leader may never confirm anything for it again.
        """
        if channel is not self._channel or await is_blocked(channel.connection):
            return
        self._give_up(channel, ChannelClosed(0, "an earlier message was not confirmed"))
        closing = asyncio.create_task(close_channel(channel))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Stop sending; what was not confirmed fails. Idempotent."""
        try:
            await ended({self._sender} if self._sender else ())
        finally:
            self._fail_waiting(BrokerUnavailable("the bus is closed"))
            channel, self._channel = self._channel, None
            if channel is not None and is_usable(channel):
                await close_channel(channel)

    async def _send_all(self) -> None:
        try:
            while self._drop_given_up():
                if await self._may_write():
                    await self._send_some(await self._open_channel())
        except BusError as error:
            self._fail_waiting(error)
            raise_if_cancelled()
        finally:
            self._sender = None

    def _wake(self) -> None:
        if self._sender is None and self._waiting:
            self._sender = asyncio.create_task(self._send_all())

    def _drop_given_up(self) -> bool:
        """Drop what nobody waits for any more from the front; return whether anything is left."""
        while self._waiting and self._waiting[0].confirmed.done():
            self._waiting.popleft()
        return bool(self._waiting)

    async def _open_channel(self) -> Channel:
        if self._channel is not None and not is_usable(self._channel):
            self._give_up(self._channel, ChannelClosed(0, "closed"))
        if self._channel is None:
            channel = await self._link.channel(confirms=True)
            channel.closing.add_done_callback(partial(self._on_closed, channel))
            if self._on_channel is not None:
                await self._on_channel(channel)
            self._routes.forget()
            self._in_flight, self._channel = 0, channel
        return self._channel

    async def _may_write(self) -> bool:
        """Wait while the broker blocks publishers; those who post give up by themselves."""
        connection = await self._link.connection()
        try:
            async with asyncio.timeout(self._patience):
                await connection.ready()
        except TimeoutError:
            return False
        return True

    async def _send_some(self, channel: Channel) -> None:
        self._room.clear()
        payload = self._register(channel)
        if payload:
            await write(channel, payload)
        elif self._waiting:
            await self._room.wait()

    def _register(self, channel: Channel) -> bytes:
        """Give tags to as many messages as the window has room for; return their frames."""
        frames: list[bytes] = []
        while self._in_flight < self._window and self._drop_given_up():
            posted = self._waiting[0]
            if posted.message.message_id in channel.message_id_delivery_tag:
                break  # aiormq tells returned messages apart by id alone: one of an id at a time
            self._waiting.popleft()
            if self._routes.holds(posted):
                continue
            try:
                frames.append(_frames(channel, posted, self._user))
            except (ValueError, TypeError) as error:
                posted.confirmed.set_exception(error)
                continue
            self._track(channel, posted)
        return b"".join(frames)

    def _track(self, channel: Channel, posted: Posted) -> None:
        posted.channel = channel
        channel.delivery_tag += 1
        channel.confirmations[channel.delivery_tag] = posted.confirmed
        channel.message_id_delivery_tag[posted.message.message_id] = channel.delivery_tag
        self._in_flight += 1
        if self._routes.is_new(posted):
            posted.confirmed.add_done_callback(partial(self._on_first, channel, posted))
        posted.confirmed.add_done_callback(partial(self._on_settled, channel, posted.message.message_id))

    def _on_first(self, channel: Channel, posted: Posted, confirmed: "asyncio.Future[object]") -> None:
        """Let go on behind the first message of a route, or not."""
        held = self._routes.settled(posted)
        # That nothing takes it is an answer too: the route is as it is.
        good = not confirmed.cancelled() and isinstance(confirmed.exception(), PublishError | None)
        if good and channel is self._channel:
            self._routes.open(posted)
            self._waiting.extendleft(reversed(held))
            self._wake()
            return
        for one in held:
            if not one.confirmed.done():
                one.confirmed.set_exception(BrokerUnavailable(NOT_SENT))

    def _on_settled(self, channel: Channel, message_id: str, confirmed: "asyncio.Future[object]") -> None:
        if not confirmed.cancelled():
            confirmed.exception()  # read, so that asyncio does not complain if the caller was cancelled
        channel.message_id_delivery_tag.pop(message_id, None)
        if channel is self._channel:
            self._in_flight -= 1
        self._room.set()

    def _on_closed(self, channel: Channel, closing: "asyncio.Future[object]") -> None:
        reason = None if closing.cancelled() else closing.exception()
        self._give_up(channel, reason if isinstance(reason, Exception) else ChannelClosed(0, "closed"))

    def _give_up(self, channel: Channel, failure: Exception) -> None:
        """Fail what was sent on a channel and not confirmed; if there was any, also what waits behind it."""
        open_ones = [one for one in channel.confirmations.values() if not one.done()]
        for confirmed in open_ones:
            if not isinstance(confirmed, Returning):
                confirmed.set_exception(failure)
        if channel is self._channel:
            self._channel = None
            if open_ones:
                self._fail_waiting(BrokerUnavailable(NOT_SENT))
        self._room.set()

    def _fail_waiting(self, error: BusError) -> None:
        while self._drop_given_up():
            self._waiting.popleft().confirmed.set_exception(error)


def _frames(channel: Channel, posted: Posted, user: str | None) -> bytes:
    return publish_frames(
        channel, posted.exchange, posted.routing_key, posted.message, mandatory=posted.mandatory, user=user
    )
