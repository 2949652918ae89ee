"""The one writer of a confirming channel: what is posted is sent in order, many at a time, inside a window."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from typing import Final

from aiormq.channel import Channel
from aiormq.exceptions import ChannelClosed

from agentbus.contracts.errors import BrokerUnavailable, BusError
from agentbus.workers.bus.rabbit.confirms import Confirms
from agentbus.workers.bus.rabbit.connections import CALL_SECONDS, Link, close_channel, is_blocked, is_usable, wire_of
from agentbus.workers.bus.rabbit.failures import Returned
from agentbus.workers.bus.rabbit.frames import PublishFrames
from agentbus.workers.bus.rabbit.known_routes import Posted, Routes
from agentbus.workers.bus.rabbit.wire import Wire
from agentbus.workers.concurrency import afterwards, ended, raise_if_cancelled

NOT_SENT: Final = "not sent: what came before it failed"

OnChannel = Callable[[Channel], Awaitable[None]]


class _Line:
    """A confirming channel, what is open on it, and how to write to it."""

    def __init__(self, channel: Channel, wire: Wire, user: str | None) -> None:
        self.channel = channel
        self.confirms = Confirms()
        self.frames = PublishFrames(channel.number, channel.max_content_size, user)
        self.wire = wire
        self.in_flight = 0
        wire.attach(channel.number, self.confirms)

    @property
    def is_usable(self) -> bool:
        """Whether it may still be written to."""
        return self.wire.takes(self.channel.number, self.confirms) and is_usable(self.channel)

    def end(self) -> None:
        """Take no more of its frames."""
        self.wire.detach(self.channel.number, self.confirms)


class Outbox:
    """Sends what is posted on a channel of its own, which it opens when there is something to send.

    It writes the frames of many messages at once. When messages in flight fail with their channel, those that wait
    behind them fail too: sent on another channel they would overtake what has to be published again.

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
        self._room = asyncio.Event()
        self._line: _Line | None = None
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
        line = self._line
        if line is None or channel is not line.channel or await is_blocked(channel.connection):
            return
        if line is not self._line:
            return  # it was replaced meanwhile
        self._give_up(line, ChannelClosed(0, "an earlier message was not confirmed"))
        closing = asyncio.create_task(close_channel(channel))
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Stop sending; what was not confirmed fails. Idempotent."""
        try:
            await ended({self._sender} if self._sender else ())
        finally:
            self._fail_waiting(BrokerUnavailable("the bus is closed"))
            line, self._line = self._line, None
            if line is not None and is_usable(line.channel):
                await close_channel(line.channel)

    async def _send_all(self) -> None:
        try:
            while self._drop_given_up():
                if await self._may_write():
                    await self._send_some(await self._open_line())
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
        while self._waiting and self._waiting[0].done:
            self._waiting.popleft()
        return bool(self._waiting)

    async def _open_line(self) -> _Line:
        if self._line is not None and not self._line.is_usable:
            self._give_up(self._line, ChannelClosed(0, "closed"))
        if self._line is None:
            channel = await self._link.channel(confirms=True)
            line = _Line(channel, wire_of(channel), self._user)
            channel.closing.add_done_callback(partial(self._on_closed, line))
            if self._on_channel is not None:
                try:
                    await self._on_channel(channel)
                except BaseException:
                    line.end()
                    await afterwards("close a channel", close_channel(channel), within=CALL_SECONDS)
                    raise
            self._routes.forget()
            self._line = line
        return self._line

    async def _may_write(self) -> bool:
        """Wait while the broker blocks publishers; those who post give up by themselves."""
        connection = await self._link.connection()
        try:
            async with asyncio.timeout(self._patience):
                await connection.ready()
        except TimeoutError:
            return False
        return True

    async def _send_some(self, line: _Line) -> None:
        self._room.clear()
        frames = self._register(line)
        if frames:
            line.wire.send(b"".join(frames))
        elif self._waiting:
            await self._room.wait()

    def _register(self, line: _Line) -> list[bytes]:
        """Give tags to as many messages as the window has room for; return their frames."""
        frames: list[bytes] = []
        while line.in_flight < self._window and self._drop_given_up():
            posted = self._waiting[0]
            if line.confirms.has(posted.message.message_id):
                break  # returned messages are told apart by id alone: one of an id at a time
            self._waiting.popleft()
            if self._routes.holds(posted):
                continue
            try:
                encoded = line.frames.of(
                    posted.exchange, posted.routing_key, posted.message, mandatory=posted.mandatory
                )
            except (ValueError, TypeError) as error:
                posted.settle(error)
                continue
            frames += encoded
            posted.channel = line.channel
            line.confirms.expect(posted)
            line.in_flight += 1
            first = self._routes.is_new(posted)
            posted.on_settled = partial(self._on_first if first else self._on_settled, line)
        return frames

    def _on_first(self, line: _Line, posted: Posted) -> None:
        """Let go on behind the first message of a route, or not."""
        self._on_settled(line, posted)
        held = self._routes.settled(posted)
        # That nothing takes it is an answer too: the route is as it is.
        if line is self._line and isinstance(posted.error, Returned | None):
            self._routes.open(posted)
            self._waiting.extendleft(reversed(held))
            self._wake()
            return
        for one in held:
            one.settle(BrokerUnavailable(NOT_SENT))

    def _on_settled(self, line: _Line, posted: Posted) -> None:
        line.confirms.forget(posted)
        line.in_flight -= 1
        self._room.set()

    def _on_closed(self, line: _Line, closing: "asyncio.Future[object]") -> None:
        reason = None if closing.cancelled() else closing.exception()
        self._give_up(line, reason if isinstance(reason, Exception) else ChannelClosed(0, "closed"))

    def _give_up(self, line: _Line, failure: Exception) -> None:
        """Fail what was sent on a channel and not confirmed; if there was any, also what waits behind it."""
        line.end()
        is_mine = line is self._line
        if is_mine:
            self._line = None
        if line.confirms.fail(failure) and is_mine:
            self._fail_waiting(BrokerUnavailable(NOT_SENT))
        self._room.set()

    def _fail_waiting(self, error: BusError) -> None:
        while self._drop_given_up():
            self._waiting.popleft().settle(error)
