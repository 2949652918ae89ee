"""Jobs: one at a time, told by whoever is asked, and to their end whatever becomes of a process."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import timedelta

import pytest

from agentbus.contracts.clock import ManualClock
from agentbus.contracts.errors import StoreUnavailable
from agentbus.contracts.jobs import JobKind, JobRunning, JobState
from agentbus.contracts.records import RecordKind
from agentbus.operations.jobs import KEPT, SILENT, Jobs, Step, result
from agentbus.storage.memory import MemoryStore
from tests.harness.patience import PATIENCE


async def at_once() -> AsyncGenerator[Step, None]:
    yield {"done": 1}
    yield result(all=1)


async def for_ever() -> AsyncGenerator[Step, None]:
    yield {"done": 1}
    await asyncio.Event().wait()


async def wrong() -> AsyncGenerator[Step, None]:
    yield {"done": 1}
    raise KeyError("secret")


async def over(jobs: Jobs, job_id: str) -> JobState:
    async with asyncio.timeout(PATIENCE):
        while (job := await jobs.get(job_id)).state is JobState.RUNNING:
            await asyncio.sleep(0.005)
    return job.state


async def test_what_nobody_foresaw_ends_a_job_without_telling_what_it_was() -> None:
    async with MemoryStore() as store:
        jobs = Jobs(store, ManualClock(), "lease", beat=0.01)
        job = await jobs.start(JobKind.VERIFY, wrong)
        assert await over(jobs, job.job_id) is JobState.FAILED
        ended = await jobs.get(job.job_id)
        assert (ended.code, ended.progress) == ("error", {"done": 1})
        assert "secret" not in str(ended)


async def test_a_process_that_ends_leaves_its_job_interrupted_and_the_way_free() -> None:
    async with MemoryStore() as store:
        clock = ManualClock()
        jobs = Jobs(store, clock, "lease", beat=0.01)
        job = await jobs.start(JobKind.VERIFY, for_ever)
        with pytest.raises(JobRunning):
            await Jobs(store, clock, "lease").start(JobKind.VERIFY, at_once)
        await jobs.close()
        assert (await jobs.get(job.job_id)).state is JobState.INTERRUPTED
        with pytest.raises(JobRunning, match="about to end"):
            await jobs.start(JobKind.VERIFY, at_once)
        jobs.open()
        other = await jobs.start(JobKind.VERIFY, at_once)
        assert await over(jobs, other.job_id) is JobState.DONE
        assert (await jobs.get(other.job_id)).result == {"all": 1}


async def test_a_job_of_which_nothing_is_heard_any_more_is_told_to_be_interrupted() -> None:
    async with MemoryStore() as store:
        clock = ManualClock()
        jobs = Jobs(store, clock, "lease", beat=PATIENCE)
        job = await jobs.start(JobKind.VERIFY, for_ever)
        assert (await jobs.get(job.job_id)).state is JobState.RUNNING
        clock.advance(SILENT + timedelta(seconds=1))
        elsewhere = Jobs(store, clock, "lease")
        assert (await elsewhere.get(job.job_id)).state is JobState.INTERRUPTED
        assert [one.state for one in (await elsewhere.page()).items] == [JobState.INTERRUPTED]
        await jobs.close()


async def test_one_whose_lease_was_lost_ends() -> None:
    async with MemoryStore() as store:
        jobs = Jobs(store, ManualClock(), "lease", beat=0.01)
        job = await jobs.start(JobKind.VERIFY, for_ever)
        await store.locks.advance("lease", 1000)
        assert await over(jobs, job.job_id) is JobState.FAILED
        assert (await jobs.get(job.job_id)).code == "job_running"


async def test_a_store_that_is_away_for_a_moment_ends_no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    async with MemoryStore() as store:
        jobs = Jobs(store, ManualClock(), "lease", beat=0.01)
        go_on, failed = asyncio.Event(), asyncio.Event()

        async def waiting() -> AsyncGenerator[Step, None]:
            await go_on.wait()
            yield result(all=1)

        job = await jobs.start(JobKind.VERIFY, waiting)
        renew = store.locks.renew

        async def away(*_: object, **__: object) -> None:
            failed.set()
            raise StoreUnavailable

        monkeypatch.setattr(store.locks, "renew", away)
        await failed.wait()
        monkeypatch.setattr(store.locks, "renew", renew)
        go_on.set()
        assert await over(jobs, job.job_id) is JobState.DONE


async def test_old_ones_are_forgotten() -> None:
    async with MemoryStore() as store:
        clock = ManualClock()
        jobs = Jobs(store, clock, "lease", beat=0.01)
        for _ in range(3):
            await over(jobs, (await jobs.start(JobKind.VERIFY, at_once)).job_id)
        clock.advance(KEPT + timedelta(seconds=1))
        last = await jobs.start(JobKind.VERIFY, at_once)
        await over(jobs, last.job_id)
        assert [one.key for one in (await store.records.scan(RecordKind.JOB, limit=10)).items] == [last.job_id]
