"""Closing an expiry worker while it moves a session to the archive: the move ends, or is cut short, within its time."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from agentbus.contracts.clock import SystemClock
from agentbus.contracts.errors import StoreUnavailable
from agentbus.contracts.events import Commit, MessageAppended
from agentbus.contracts.expiry import CleanupAction
from agentbus.contracts.ids import SessionId
from agentbus.contracts.records import RecordKind
from agentbus.storage.memory import MemoryStore
from agentbus.storage.memory.locks import MemoryLocks
from agentbus.storage.memory.log import MemoryLog
from agentbus.workers.expiry.watch import due
from agentbus.workers.expiry.worker import ExpiryWorker
from tests.expiry.world import World, a_rule, a_world
from tests.harness.patience import PATIENCE


class Slow(MemoryStore):
    """A store that takes its time to replace commits, as a slow disk does."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = asyncio.Event()
        self.go_on = asyncio.Event()
        self.goes_away = False
        self.down = False
        self.log = _SlowLog(self)
        self.locks = _SlowLocks(self)


class _SlowLog(MemoryLog):
    def __init__(self, store: Slow) -> None:
        super().__init__(store.heads)
        self._store = store

    async def replace(self, commits: Sequence[Commit]) -> None:
        self._store.reached.set()
        try:
            await self._store.go_on.wait()
        except asyncio.CancelledError:
            if not self._store.goes_away:
                raise
            self._store.down = True  # and so is all that clean-ups ask for
            raise StoreUnavailable("the connection was closed") from None
        await super().replace(commits)


class _SlowLocks(MemoryLocks):
    def __init__(self, store: Slow) -> None:
        super().__init__(SystemClock())
        self._store = store

    async def release(self, name: str, token: int) -> bool:
        if self._store.down:
            raise StoreUnavailable("down")
        return await super().release(name, token)


@asynccontextmanager
async def moving(store: Slow, archive: str) -> AsyncIterator[tuple[World, ExpiryWorker, SessionId]]:
    """Run an expiry worker until it strips a session that it moves to the archive."""
    async with a_world(store=store, archive=f"memory://{archive}") as world:
        worker = world.expiry()
        await worker.rules.add(a_rule("silent", CleanupAction.ARCHIVE))
        await worker.start()
        session = await world.session()
        await world.say("hello")
        await world.scheduled(session)
        world.advance(60)
        async with asyncio.timeout(PATIENCE):
            await store.reached.wait()
        try:
            yield world, worker, session
        finally:
            await worker.close()


async def is_stripped(world: World, session: SessionId) -> bool:
    log = await world.store.log.read((await world.head(session)).conversation_id, limit=100)
    return not any(isinstance(event, MessageAppended) for commit in log for event in commit.events)


async def test_a_move_that_is_under_way_comes_to_its_end() -> None:
    store = Slow()
    async with moving(store, "ends-well") as (world, worker, session):
        closing = asyncio.create_task(worker.close())
        asyncio.get_running_loop().call_later(0.05, store.go_on.set)
        async with asyncio.timeout(PATIENCE):
            await closing
        assert await is_stripped(world, session)


@pytest.mark.parametrize("goes_away", [False, True], ids=["is slow", "is down"])
async def test_a_move_that_does_not_end_is_cut_short_and_made_by_another(
    goes_away: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(due, "GRACE", 0.05)
    store = Slow()
    store.goes_away = goes_away
    before = asyncio.all_tasks()
    async with moving(store, f"ends-badly-{goes_away}") as (world, worker, session):
        async with asyncio.timeout(PATIENCE):
            await worker.close()
        assert worker._due._moving == {}
        lock = await store.locks.acquire(f"rewrite/{(await world.head(session)).conversation_id}", ttl=0.01)
        assert (lock is None) is goes_away  # then it is free when its lease ends
        store.go_on.set()
        store.down = False
        if not goes_away:
            async with world.expiring():
                world.advance(120)
                await world.until(lambda: is_stripped(world, session))
    assert asyncio.all_tasks() == before


async def test_a_move_that_waits_for_its_turn_is_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(due, "_MOVES", 1)
    store = Slow()
    async with moving(store, "waits") as (world, worker, _):
        other = await world.session("bob")
        await world.scheduled(other)
        world.advance(60)

        async def waits() -> bool:
            return other in worker._due._moving

        await world.until(waits)
        asyncio.get_running_loop().call_later(0.05, store.go_on.set)
        async with asyncio.timeout(PATIENCE):
            await worker.close()
        assert await world.archived(other) == 0


async def test_those_that_there_is_no_room_for_are_looked_at_one_after_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(due, "_MOVES_WAITING", 1)
    store = Slow()
    async with moving(store, "crowd") as (world, worker, first):
        others = [await world.session(user) for user in ("bob", "carol", "dora")]
        await world.scheduled(*others)
        world.advance(60)

        async def moments() -> list[float]:
            found = [await store.records.get(RecordKind.DEADLINE, session) for session in others]
            return sorted((one.due_at - world.clock.now()).total_seconds() for one in found if one and one.due_at)

        async def are_put_off() -> bool:
            ended = [(await world.head(session)).expiry for session in others]
            return None not in ended and 0.5 <= (await moments())[0] <= (await moments())[-1] < 1

        await world.until(are_put_off)
        assert len(set(await moments())) == 3
        assert set(worker._due._moving) == {first}
        store.go_on.set()

        async def all_are_moved() -> bool:
            world.advance(0.5)
            return all([await world.archived(session) for session in (first, *others)])

        await world.until(all_are_moved)
