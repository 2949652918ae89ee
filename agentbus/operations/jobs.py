"""Jobs: long work that a call starts and another one looks at. It goes on whoever goes, and one runs at a time.

What is known of a job is in the store, so that any process tells it. The one that carries it out holds a lease, and
notes every second that it is still there: a job whose process died is told to be interrupted once that stops.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from datetime import timedelta
from typing import Any, Final
from uuid import uuid4

from pydantic import JsonValue

from agentbus.contracts.clock import Clock
from agentbus.contracts.errors import AgentBusError, StoreError
from agentbus.contracts.history import Page
from agentbus.contracts.ids import digest_of
from agentbus.contracts.jobs import Job, JobKind, JobNotFound, JobRunning, JobState
from agentbus.contracts.operators import Operator
from agentbus.contracts.records import Lock, Record, RecordKind
from agentbus.contracts.telemetry import Action
from agentbus.contracts.urls import masked_in
from agentbus.operations.paging import page_after
from agentbus.storage.damage import SET_ANEW, read_as, readable
from agentbus.storage.log_lines import Logger
from agentbus.storage.port import Store
from agentbus.workers.backup.worker import LEASE
from agentbus.workers.concurrency import afterwards, ended, passing_over, raise_if_cancelled
from agentbus.workers.faults import told

KEPT: Final = timedelta(days=7)
"""For how long a job is told after it was last heard of."""

BEAT: Final = 1.0
"""Seconds between two notes of how far a job is."""

SILENT: Final = timedelta(seconds=30)
"""After so long without a note nobody carries it out any more."""

_GROUP: Final = "jobs"
_CANCELS: Final = "cancels"
_MOST_DROPPED: Final = 100
_LONGEST: Final = 1000

_log = Logger(__name__)


class _Result(dict[str, JsonValue]):
    """What a job came to, of all that it tells."""


Step = Mapping[str, JsonValue]
"""How far a job is."""
Work = Callable[[], AsyncGenerator[Step, None]]
"""Carries a job out: yields how far it is, and in the end, by `result`, what it came to."""


def result(**fields: JsonValue) -> Step:
    """Return what a job came to, as its last step."""
    return _Result(fields)


class Jobs:
    """The jobs of an installation. Those that are started here are carried out here.

    `lease` is the name of the lock that whoever carries one out holds: that of the backup workers, as of two backups
    that are made at once the earlier one would end.
    """

    def __init__(self, store: Store, clock: Clock, lease: str, *, beat: float = BEAT) -> None:
        self._store = store
        self._clock = clock
        self._lease = lease
        self._beat = beat
        self._running: asyncio.Task[None] | None = None
        self._ending = False

    def open(self) -> None:
        """Take jobs."""
        self._ending = False

    async def start(
        self,
        kind: JobKind,
        work: Work,
        *,
        about: str = "",
        given: str = "",
        by: Operator | None = None,
        request_id: str | None = None,
    ) -> Job:
        """Start a job and return it; with the `request_id` of one that was started to do the same, that one.

        `given` is what makes it another one than others of its kind about the same. Raises JobRunning while another
        one is under way, in any process, or a backup worker makes a backup; StoreError.
        """
        job_id = digest_of(("job", kind.value, about, given, request_id)) if request_id else uuid4().hex
        if request_id and (known := await self._kept(job_id)):
            return known
        if self._ending:
            raise JobRunning("this server is about to end: call again")
        lock = await self._store.locks.acquire(self._lease, ttl=LEASE)
        if lock is None:
            raise JobRunning
        begun = False
        try:
            await self._drop_old()
            now = self._clock.now()
            job = Job(job_id=job_id, kind=kind, about=about, by=by, started_at=now, seen_at=now)
            await self._keep(job)
            self._running = asyncio.create_task(self._see_through(job, work, lock), name=f"carry out job {job_id}")
            begun = True
        finally:
            if not begun:
                await afterwards("give the lease back", self._store.locks.release(self._lease, lock.token))
        return job

    async def get(self, job_id: str) -> Job:
        """Return a job as it is now. Raises JobNotFound, StoreError."""
        if found := await self._kept(job_id):
            return found
        raise JobNotFound(f"there is no job {job_id!r:.60}")

    async def page(self, *, limit: int = 50, cursor: str | None = None) -> Page[Job]:
        """Return a page of jobs, the latest first. Raises InvalidCursor, StoreError."""
        with page_after(cursor):
            page = await self._store.records.page(RecordKind.JOB, _GROUP, limit=limit, cursor=cursor)
        jobs = tuple(self._as_it_is(one) for one in readable(page.items, _read))
        return Page[Job].model_construct(items=jobs, cursor=page.cursor)

    async def cancel(self, job_id: str) -> Job:
        """Have a job cancelled, wherever it runs: within moments. What it has done stays. Idempotent.

        Raises JobNotFound, StoreError.
        """
        job = await self.get(job_id)
        if job.state is JobState.RUNNING:
            now = self._clock.now()
            await self._store.records.put(
                Record(
                    kind=RecordKind.JOB,
                    key=_cancel_of(job_id),
                    group=_CANCELS,
                    created_at=now,
                    data={},
                    due_at=now + KEPT,
                )
            )
        return job

    async def close(self) -> None:
        """End the job that is carried out here; it is told to be interrupted. Idempotent."""
        self._ending = True
        if self._running:
            await asyncio.sleep(0)  # a task that is cancelled before it began has nothing seen to
            await ended({self._running})

    async def _see_through(self, job: Job, work: Work, lock: Lock) -> None:
        """Carry a job out to its end, and note what became of it; renew the lease meanwhile."""
        carried = _Carried(work)
        task = asyncio.create_task(carried.run(), name=f"work on job {job.job_id}")
        state = JobState.INTERRUPTED
        try:
            state = await self._watch(job, carried, task, lock)
        finally:
            await ended({task})
            over = job.model_copy(update={"state": state, "seen_at": self._clock.now(), **carried.told()})
            await afterwards("note what became of a job", self._note_end(over, lock))

    async def _watch(self, job: Job, carried: "_Carried", task: asyncio.Task[None], lock: Lock) -> JobState:
        while True:
            await asyncio.wait({task}, timeout=self._beat)
            if task.done():
                return JobState.FAILED if carried.error or task.cancelled() else JobState.DONE
            try:
                if await self._store.records.get(RecordKind.JOB, _cancel_of(job.job_id)):
                    return JobState.CANCELLED
                held = await self._store.locks.renew(self._lease, lock.token, ttl=LEASE)
                if held is None:
                    carried.error = JobRunning("its lease was lost: another job, or a backup worker, took it over")
                    return JobState.FAILED
                await self._keep(job.model_copy(update={"seen_at": self._clock.now(), "progress": carried.progress}))
            except StoreError:
                raise_if_cancelled()  # the work itself says so, if it lasts

    async def _note_end(self, job: Job, lock: Lock) -> None:
        _log.info(Action.JOB_ENDED, job=job.job_id, what=job.kind.value, state=job.state.value, by=str(job.by or ""))
        with passing_over(StoreError):  # first, so that whoever sees the end may start the next one
            await self._store.locks.release(self._lease, lock.token)
        with passing_over(StoreError):
            await self._keep(job)

    async def _keep(self, job: Job) -> None:
        data = job.model_dump(mode="json", exclude_none=True)
        due_at = job.seen_at + KEPT
        record = Record(
            kind=RecordKind.JOB, key=job.job_id, group=_GROUP, created_at=job.started_at, data=data, due_at=due_at
        )
        await self._store.records.put(record)

    async def _kept(self, job_id: str) -> Job | None:
        if not 0 < len(job_id) <= _LONGEST or "." in job_id or not job_id.isalnum():
            return None
        record = await self._store.records.get(RecordKind.JOB, job_id)
        return self._as_it_is(_read(record)) if record else None

    def _as_it_is(self, job: Job) -> Job:
        if job.state is JobState.RUNNING and self._clock.now() - job.seen_at > SILENT:
            return job.model_copy(update={"state": JobState.INTERRUPTED})
        return job

    async def _drop_old(self) -> None:
        for old in await self._store.records.due(RecordKind.JOB, self._clock.now(), limit=_MOST_DROPPED):
            await self._store.records.delete(RecordKind.JOB, old.key)


class _Carried:
    """Work under way, and what it came to."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._result: Step | None = None
        self.progress: Step = {}
        self.error: AgentBusError | None = None

    async def run(self) -> None:
        try:
            async with aclosing(self._work()) as steps:
                async for step in steps:
                    if isinstance(step, _Result):
                        self._result = step
                    else:
                        self.progress = step
        except AgentBusError as error:
            raise_if_cancelled()
            self.error = error
        except Exception as error:
            raise_if_cancelled()
            _log.error(Action.API_FAILED, what="a job", **told(error))
            self.error = AgentBusError("something is wrong here; the log of the server says what")

    def told(self) -> dict[str, Any]:
        """Return what is told of it at its end."""
        error = self.error
        return {
            "progress": dict(self.progress),
            "result": None if self._result is None else dict(self._result),
            "code": error.code if error else None,
            "reason": masked_in(str(error)[:_LONGEST]) if error else None,
        }


def _cancel_of(job_id: str) -> str:
    return f"{job_id}.cancel"


def _read(record: Record) -> Job:
    """Return a job. Raises StoreDamaged."""
    return read_as(f"job {record.key}", Job.model_validate, record.data, SET_ANEW)
