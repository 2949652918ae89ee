"""Connections that we supervise ourselves, and channels on them.

They are aio-pika's plain connections: a robust one restores channels and consumers by itself, and a single failing
declaration ends the restoration of all of them. Channels are those of aiormq below it, so that the frames of many
messages are written at once: a confirmed publish then takes 20 us of processor time, with aio-pika's objects 110 us.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from time import monotonic
from typing import Final, cast
from weakref import WeakKeyDictionary

from aio_pika import Connection
from aio_pika.connection import make_url
from aiormq.abc import AbstractConnection
from aiormq.channel import Channel
from aiormq.exceptions import AMQPError
from pamqp.exceptions import PAMQPException
from tenacity import RetryCallState

from agentbus.contracts.errors import BrokerRejected, BrokerUnavailable
from agentbus.contracts.outages import Outage
from agentbus.contracts.telemetry import Action
from agentbus.contracts.urls import masked
from agentbus.storage.cancelling import taken
from agentbus.storage.log_lines import Logger
from agentbus.workers.bus.rabbit.decoding import decode_leniently
from agentbus.workers.bus.rabbit.failures import channel_failure, connect_failure
from agentbus.workers.bus.rabbit.wire import Wire, Wires
from agentbus.workers.concurrency import Result, afterwards, ended, passing_over, raise_if_cancelled
from agentbus.workers.outages import Trouble
from agentbus.workers.patience import Patience

ATTEMPT_SECONDS: Final = 10.0
"""How long one attempt to connect may take."""

_UNREACHABLE: Final = Patience(transient=(BrokerUnavailable,), first_wait=0.1, longest_wait=2.0)

CALL_SECONDS: Final = 5.0
"""How long the broker may take to answer one call on a connection. A call to a queue that is just being started or
has no leader may never be answered."""

CANCEL_SECONDS: Final = 1.0
"""How long an attempt to connect that nobody waits for any more may take to finish before it is cut short."""

_DEFAULT_USER: Final = "guest"
"""Whom aiormq signs in as by a URL that names nobody."""

_ABANDONING: Final = CANCEL_SECONDS + CALL_SECONDS

DRIVER_ERRORS: Final = (AMQPError, PAMQPException, OSError, RuntimeError, EOFError, TimeoutError)
"""What aio-pika and aiormq raise for a connection or channel that fails (ConnectionError is an OSError)."""

_log = Logger(__name__)

_wires: "WeakKeyDictionary[AbstractConnection, Wire]" = WeakKeyDictionary()


def user_of(url: str) -> str | None:
    """Return the broker user that `url` signs in as; None if a certificate says who it is, and the URL does not."""
    parts = make_url(url)
    return parts.user or (None if parts.query.get("auth", "").upper() == "EXTERNAL" else _DEFAULT_USER)


class Link:
    """One connection for one purpose, opened when it is first needed and again after it was lost."""

    def __init__(
        self, url: str, *, name: str, heartbeat: int, wait: float, on_reconnect: Callable[[], None] = lambda: None
    ) -> None:
        self._url = url
        self._on_reconnect = on_reconnect
        self._name = name
        self._heartbeat = heartbeat
        self._wait = wait
        self._connection: Connection | None = None
        self._opening: asyncio.Task[AbstractConnection] | None = None
        self._closed = False
        self._was_open = False
        self._starting = Outage(monotonic)
        self._trouble = Trouble(f"connect to {name}")
        decode_leniently()

    @property
    def is_open(self) -> bool:
        """Whether there is a connection right now."""
        return self._current() is not None

    async def connection(self, wait: float | None = None) -> AbstractConnection:
        """Return the connection; if there is none, open it within `wait` seconds.

        Raises BrokerUnavailable or BrokerRejected. All callers share one attempt.
        """
        if self._closed:
            raise BrokerUnavailable("the bus is closed")
        if (current := self._current()) is not None:
            return current
        if self._opening is None:
            self._opening = asyncio.create_task(self._open(self._wait if wait is None else wait))
            self._opening.add_done_callback(self._opened)
        return await asyncio.shield(self._opening)

    async def channel(self, *, confirms: bool = False, frame_buffer: int = 10) -> Channel:
        """Open a channel. `frame_buffer` is how many frames may wait in it; three make a delivery."""
        connection = await self.connection()
        # Cancelled while it is being opened, aiormq would keep it, and its number, for as long as the connection lives.
        return await taken(_open_channel(connection, confirms=confirms, frame_buffer=frame_buffer), close_channel)

    async def close(self) -> None:
        """Close the connection for good. Idempotent."""
        self._closed = True
        self._trouble.over()
        try:
            await ended({self._opening} if self._opening else (), within=CALL_SECONDS + CANCEL_SECONDS)
        finally:
            connection, self._connection = self._connection, None
            if connection is not None:
                await close_connection(connection)

    def _current(self) -> AbstractConnection | None:
        if self._connection is None or self._connection.transport is None:
            return None
        underlay = self._connection.transport.connection
        return underlay if underlay.is_opened else None

    def _opened(self, task: asyncio.Task[AbstractConnection]) -> None:
        self._opening = None
        if not task.cancelled():
            task.exception()  # read, so that asyncio does not complain if every caller has given up

    async def _open(self, wait: float) -> AbstractConnection:
        if self._connection is not None:
            lost, self._connection = self._connection, None
            await close_connection(lost)
        deadline = asyncio.get_running_loop().time() + wait
        patience = _UNREACHABLE.within(wait)
        try:
            return await patience.call(
                partial(self._attempt, deadline), waiting=lambda state: self._say_waiting(state, deadline)
            )
        except BrokerUnavailable as error:
            advice = "start it, or check host, port and network"
            raise BrokerUnavailable(f"{error}; gave up after {wait:g} s: {advice}") from error

    async def _attempt(self, deadline: float) -> AbstractConnection:
        left = deadline - asyncio.get_running_loop().time()
        connection = Connection(make_url(self._url, heartbeat=self._heartbeat, name=self._name))
        wires = Wires()
        connection.kwargs["transport_factory"] = wires  # aio-pika takes no such argument, and hands on what is here
        connecting = asyncio.create_task(connection.connect(timeout=max(0.1, min(left, ATTEMPT_SECONDS))))
        try:
            await asyncio.shield(connecting)
        except DRIVER_ERRORS as error:
            await connection.close()
            raise connect_failure(error, self._url) from error
        except asyncio.CancelledError:
            await afterwards("let go of a connection", _abandon(connecting, connection), within=_ABANDONING)
            raise
        self._connection = connection
        if (current := self._current()) is None:
            raise BrokerUnavailable(f"the broker at {masked(self._url)} closed the connection at once")
        if wires.wire is not None:
            wires.wire.agree(current.connection_tune.frame_max)
            _wires[current] = wires.wire
        if self._was_open:
            self._on_reconnect()
        self._was_open = True
        self._trouble.over()
        return current

    def _say_waiting(self, state: RetryCallState, deadline: float) -> None:
        if self._was_open:
            self._trouble.retrying(state)
            return
        if self._starting.failed(self) is None:
            return
        left = max(0.0, deadline - asyncio.get_running_loop().time())
        reason = state.outcome.exception() if state.outcome else None
        _log.warning(Action.BROKER_WAITING, url=masked(self._url), seconds_left=round(left, 1), reason=str(reason))


def is_usable(channel: Channel) -> bool:
    """Whether frames may still be written to `channel`.

    A frame for a channel that the broker has closed would end the whole connection, and aiormq marks it as closed
    some turns of the loop after it has let go of its number.
    """
    connection = channel.connection
    return connection.channels.get(channel.number) is channel and connection.is_opened and not channel.is_closed


def wire_of(channel: Channel) -> Wire:
    """Return the reading end of a channel's connection."""
    return _wires[channel.connection]


async def is_blocked(connection: AbstractConnection) -> bool:
    """Whether the broker blocks those who publish on this connection (memory or disk alarm)."""
    try:
        async with asyncio.timeout(0):
            await connection.ready()
    except TimeoutError:
        return True
    return False


async def called(call: Awaitable[Result]) -> Result:
    """Await the answer to a call on a channel, for CALL_SECONDS at most; to be cancelled is to be cancelled.

    The driver's own time limit is `asyncio.wait_for`: in Python 3.11 it returns an answer that has just come in the
    place of the cancellation. The driver also ends a call that is cancelled while its channel closes as if nothing
    had been. Raises what DRIVER_ERRORS names.
    """
    async with asyncio.timeout(CALL_SECONDS):
        answer = await call
    raise_if_cancelled()
    return answer


async def close_channel(channel: Channel) -> None:
    """Close a channel, within a bounded time, whatever state it is in.

    Looked at here too, not only by the caller: by the time that a task of its own gets its turn, the broker may have
    closed it, and its number may be another channel's.
    """
    if not is_usable(channel):
        return
    with passing_over(*DRIVER_ERRORS):
        async with asyncio.timeout(CALL_SECONDS):
            await channel.close()


async def _open_channel(connection: AbstractConnection, *, confirms: bool, frame_buffer: int) -> Channel:
    number = _free_number(connection)
    try:
        async with asyncio.timeout(CALL_SECONDS):
            opened = await connection.channel(number, publisher_confirms=confirms, frame_buffer_size=frame_buffer)
    except DRIVER_ERRORS as error:
        raise channel_failure(error, "opening a channel") from error
    return cast("Channel", opened)


def _free_number(connection: AbstractConnection) -> int:
    """Return the lowest channel number not in use.

    aiormq counts on from the highest one, so that a connection which opens and closes channels for long enough
    would pass the broker's limit (2,047 by default) with only a few of them open.
    """
    limit = connection.connection_tune.channel_max or 65_535
    for number in range(1, limit + 1):
        if number not in connection.channels:
            return number
    raise BrokerRejected(f"all {limit} channels of the connection are in use: raise the broker's channel_max")


async def _abandon(connecting: asyncio.Task[None], connection: Connection) -> None:
    """Close a connection that is just being opened.

    Cancelled at its last step, aio-pika would let go of an open connection without closing it: it gets a moment to
    finish first.
    """
    await asyncio.wait({connecting}, timeout=CANCEL_SECONDS)
    await ended({connecting})
    await close_connection(connection)


async def close_connection(connection: Connection) -> None:
    """Close a connection, within a bounded time, whatever state it is in."""
    with passing_over(*DRIVER_ERRORS):
        async with asyncio.timeout(CALL_SECONDS):
            await connection.close()
