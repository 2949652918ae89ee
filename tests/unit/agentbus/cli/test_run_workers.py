"""Workers in a process of their own: a signal ends them whenever it comes, and so does the first that fails."""

import asyncio
import os
import signal

import pytest

from agentbus.cli.run_workers import ALL, _kinds
from agentbus.composition.running import work
from agentbus.composition.workers import WORKERS
from agentbus.contracts.members import WorkerKind
from agentbus.settings import load_settings
from agentbus.workers.worker import HAND_BACK_SECONDS, Health, Worker
from tests.harness.patience import PATIENCE


class Slow(Worker):
    """A worker that starts, or works, until it is told to end; or fails at it."""

    def __init__(self, *, starts: bool, fails: bool = False) -> None:
        self.starts = starts
        self.fails = fails
        self.starting = asyncio.Event()
        self.closed = False

    async def start(self) -> None:
        self.starting.set()
        if not self.starts:
            await asyncio.Event().wait()

    async def wait(self) -> None:
        if self.fails:
            raise ZeroDivisionError
        await asyncio.Event().wait()

    async def drain(self, *, within: float = HAND_BACK_SECONDS) -> None: ...

    async def close(self, *, within: float = HAND_BACK_SECONDS) -> None:  # noqa: ARG002 - it ends at once
        self.closed = True

    def health(self) -> Health:
        return Health(live=True, ready=True, lag=0.0, member=None)


async def for_ever() -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("starts", [False, True], ids=["while it starts", "while it works"])
async def test_a_signal_ends_all(number: signal.Signals, starts: bool) -> None:
    workers = [Slow(starts=True), Slow(starts=starts)]
    working = asyncio.create_task(work(workers, for_ever()))
    async with asyncio.timeout(PATIENCE):
        await workers[1].starting.wait()
        os.kill(os.getpid(), number)
        await working
    assert [worker.closed for worker in workers] == [True, True]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, "afterwards signals do what they did before"


async def test_one_that_fails_ends_all_and_its_failure_is_told() -> None:
    workers = [Slow(starts=True), Slow(starts=True, fails=True)]
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(ZeroDivisionError):
            await work(workers, for_ever())
    assert [worker.closed for worker in workers] == [True, True]


async def test_another_installation_ends_them() -> None:
    async def changed() -> None:
        raise RuntimeError("another number of partitions")

    worker = Slow(starts=True)
    async with asyncio.timeout(PATIENCE):
        with pytest.raises(RuntimeError, match="another number"):
            await work([worker], changed())
    assert worker.closed


def test_every_kind_has_its_row_and_all_means_each() -> None:
    channels = {"webhook": {"shop": {"secret": "whsec_c2VjcmV0c2VjcmV0"}}}
    settings = load_settings(channels=channels, backup_url="memory://backups", api_in_all=True)
    assert set(WORKERS) == set(WorkerKind) == _kinds([ALL], settings) == _kinds(["session", ALL], settings)
    assert _kinds(["sync", "expiry"], settings) == {WorkerKind.SYNC, WorkerKind.EXPIRY}


def test_all_means_channels_backups_and_the_api_only_where_there_is_something_for_them_to_do() -> None:
    settings = load_settings()
    some = {WorkerKind.GATEWAY, WorkerKind.OUTBOUND, WorkerKind.BACKUP, WorkerKind.API}
    assert _kinds([ALL], settings) == set(WorkerKind) - some
    assert _kinds([ALL, *some], settings) == set(WorkerKind)
