"""`agentbus worker`: a signal ends it whenever it comes."""

import asyncio
import os
import signal

import pytest
from starlette.applications import Starlette

from agentbus.cli.worker import _work
from agentbus.health import LOOPBACK

PATIENCE = 10.0


class Slow:
    """A worker that starts, or works, until it is told to end."""

    def __init__(self, *, starts: bool) -> None:
        self.starts = starts
        self.starting = asyncio.Event()
        self.closed = False

    async def start(self) -> None:
        self.starting.set()
        if not self.starts:
            await asyncio.Event().wait()

    async def close(self) -> None:
        self.closed = True

    async def work(self) -> None:
        await asyncio.Event().wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("starts", [False, True], ids=["while it starts", "while it works"])
async def test_a_signal_ends_a_worker(number: signal.Signals, starts: bool) -> None:
    worker = Slow(starts=starts)
    working = asyncio.create_task(_work(worker, Starlette(), (LOOPBACK, None), worker.work))
    async with asyncio.timeout(PATIENCE):
        await worker.starting.wait()
        os.kill(os.getpid(), number)
        await working
    assert worker.closed
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, "afterwards signals do what they did before"


async def test_a_worker_that_fails_is_closed_and_its_failure_told() -> None:
    worker = Slow(starts=True)

    async def fail() -> None:
        raise ZeroDivisionError

    async with asyncio.timeout(PATIENCE):
        with pytest.raises(ZeroDivisionError):
            await _work(worker, Starlette(), (LOOPBACK, None), worker.work, fail)
    assert worker.closed
