"""A TCP proxy that can misbehave as networks do."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from tests.harness.system.backends import Address
from tests.services import LOOPBACK

_CHUNK: Final = 65_536
_CONNECT_SECONDS: Final = 2.0


class Proxy:
    """Forwards connections from a port, one of its own if none is given, to the first of `targets` that answers.

    While `frozen` nothing is forwarded and nothing is closed; `delay` is how many seconds each chunk is late, in each
    direction; while `deaf` what servers say is thrown away.
    """

    def __init__(self, *targets: Address, port: int = 0) -> None:
        self.targets: Sequence[Address] = targets
        self._asked = port
        self.delay = 0.0
        self.deaf = False
        self._thawed = asyncio.Event()
        self._thawed.set()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, LOOPBACK, self._asked)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        self.cut()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    @property
    def port(self) -> int:
        """The port to connect to."""
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def cut(self) -> None:
        """End all connections at once, both sides seeing a reset."""
        for writer in list(self._writers):
            writer.transport.abort()

    def freeze(self) -> None:
        """Half-open: nothing gets through, and nobody is told."""
        self._thawed.clear()

    def thaw(self) -> None:
        """Go on; what was sent meanwhile arrives now, as after TCP's retransmissions."""
        self._thawed.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._thawed.wait()
        try:
            there, back = await self._connect()
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, back}
        try:
            forward = self._start(self._pump(reader, back, lambda: False))
            backward = self._start(self._pump(there, writer, lambda: self.deaf))
            await asyncio.wait({forward, backward}, return_when=asyncio.FIRST_COMPLETED)
            forward.cancel()
            backward.cancel()
        finally:
            self._writers -= {writer, back}
            for one in (writer, back):
                one.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        error: OSError = OSError("no target")
        for host, port in self.targets:
            try:
                async with asyncio.timeout(_CONNECT_SECONDS):
                    return await asyncio.open_connection(host, port)
            except OSError as failed:
                error = failed
        raise error

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, throw_away: Callable[[], bool]
    ) -> None:
        """Forward chunks in their order, each `delay` seconds late, without holding up the reading of the next."""
        loop = asyncio.get_running_loop()
        late: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(256)

        async def write() -> None:
            while True:
                due, chunk = await late.get()
                await asyncio.sleep(max(0.0, due - loop.time()))
                await self._thawed.wait()
                if not throw_away():
                    writer.write(chunk)
                    await writer.drain()

        writing = self._start(write())
        with suppress(OSError):
            while chunk := await reader.read(_CHUNK):
                await late.put((loop.time() + self.delay, chunk))
            while not late.empty() and not writing.done():
                await asyncio.sleep(0.01)
        writing.cancel()

    def _start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # a connection that broke is what this is for
