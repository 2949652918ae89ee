"""Backups by schedule: when their time has come, by one instance of many, gone on with, and removed in the end."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from agentbus.contracts.backup import BackupFormat, Manifest
from agentbus.contracts.clock import ManualClock
from agentbus.contracts.errors import BackupFull
from agentbus.storage.backup import BackupPlace, BackupReader, open_backups
from agentbus.storage.backup.retention import Keep
from agentbus.storage.memory import MemoryStore
from agentbus.workers.backup import Wanted, back_up
from agentbus.workers.backup.worker import BackupConfig, BackupTurns
from tests.harness.backups import SOURCE, backed_up, backups_in, faults_of, held_by, put_back
from tests.harness.builders import a_commit, a_conversation, a_head, begun

DAY = timedelta(days=1)
LOCK = "agentbus/backup"


@pytest.fixture
def place() -> BackupPlace:
    return open_backups(f"memory://{uuid4().hex}")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def store() -> MemoryStore:
    store = MemoryStore()
    await append(store, "one")
    return store


async def append(store: MemoryStore, name: str) -> None:
    one = a_conversation(name)
    await store.log.append([a_commit(one, 1, events=[begun(one)])])
    await store.heads.save([a_head(one, version=1)])


Turns = Callable[..., BackupTurns]


@pytest.fixture
def turns(store: MemoryStore, place: BackupPlace, clock: ManualClock) -> Turns:
    """Make what takes turns: an instance."""

    def make(keep: Keep | None = None) -> BackupTurns:
        config = BackupConfig(
            source=SOURCE, every=86_400, full_every=3 * 86_400, file_format=BackupFormat.JSON, keep=keep or Keep()
        )
        return BackupTurns(store, place, clock=clock, lock=LOCK, config=config)

    return make


async def made(place: BackupPlace) -> list[Manifest]:
    return [one.manifest for one in await place.backups() if one.manifest]


async def test_one_is_made_at_once_and_then_each_time_a_day_has_passed(
    store: MemoryStore, place: BackupPlace, clock: ManualClock, turns: Turns
) -> None:
    instance = turns()
    for day in range(5):
        await append(store, f"of day {day}")
        for _ in range(3):
            assert not await instance.turn()
        assert len(await made(place)) == day + 1
        clock.advance(DAY)
    kinds = [one.base is None for one in reversed(await made(place))]
    assert kinds == [True, False, False, True, False]
    assert {one.tags for one in await made(place)} == {("scheduled",)}


async def test_of_many_instances_one_makes_it(place: BackupPlace, clock: ManualClock, turns: Turns) -> None:
    instances = [turns() for _ in range(4)]
    for day in range(3):
        await asyncio.gather(*(one.turn() for one in instances))
        assert len(await made(place)) == day + 1
        clock.advance(DAY)


async def test_nobody_does_while_somebody_holds_the_lease(store: MemoryStore, place: BackupPlace, turns: Turns) -> None:
    lock = await store.locks.acquire(LOCK, ttl=3600)
    assert lock is not None
    await turns().turn()
    assert await made(place) == []
    await store.locks.release(LOCK, lock.token)
    await turns().turn()
    assert len(await made(place)) == 1
    assert await store.locks.acquire(LOCK, ttl=1), "it was given back"


async def test_one_that_was_interrupted_is_gone_on_with_before_its_time(
    store: MemoryStore, place: BackupPlace, clock: ManualClock, turns: Turns
) -> None:
    instance = turns()
    await instance.turn()
    run = back_up(store, place, Wanted(incremental=True), source=SOURCE, clock=clock)
    await anext(run)
    await run.aclose()
    await turns().turn()
    assert len(await made(place)) == 2


async def test_what_fails_is_tried_again_after_some_minutes(
    place: BackupPlace, clock: ManualClock, turns: Turns, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = 0

    async def full(*_: object, **__: object) -> None:
        nonlocal tries
        tries += 1
        raise BackupFull

    instance = turns()
    with monkeypatch.context() as patch:
        patch.setattr(place, "write", full)
        for _ in range(3):
            await instance.turn()
        assert tries == 1
        clock.advance(timedelta(minutes=5))
        await instance.turn()
        assert tries == 2
    assert await made(place) == []
    clock.advance(timedelta(minutes=5))
    await instance.turn()
    assert len(await made(place)) == 1


async def test_what_is_not_kept_is_removed_with_its_files(
    store: MemoryStore, place: BackupPlace, clock: ManualClock, turns: Turns
) -> None:
    by_hand = await backed_up(store, place, clock=clock)
    clock.advance(DAY)
    instance = turns(Keep(last=2))
    for day in range(6):
        await append(store, f"of day {day}")
        await instance.turn()
        clock.advance(DAY)
    *scheduled, oldest = await made(place)
    assert (len(scheduled), oldest) == (2, by_hand), "what was made by hand stays"
    assert await faults_of(place) == {}
    homes = {name for name, _ in await place.folder.names("files")}
    assert homes == {ref.home for one in await made(place) for layer in one.layers for ref in layer.pages}


async def test_on_a_damaged_one_nothing_is_built(store: MemoryStore, clock: ManualClock, tmp_path: Path) -> None:
    place = backups_in(tmp_path)
    instance = BackupTurns(store, place, clock=clock, lock=LOCK, config=BackupConfig(source=SOURCE))
    await instance.turn()
    (first,) = await made(place)
    for file in (tmp_path / "files").rglob("*.json"):
        file.write_bytes(b"x" + file.read_bytes()[1:])
    clock.advance(DAY)
    await instance.turn()
    assert len(await made(place)) == 1
    clock.advance(timedelta(minutes=5))
    await instance.turn()
    second, before = await made(place)
    assert (before, second.base) == (first, None)
    assert await faults_of(place, second.backup_id) == {}
    assert await held_by(await put_back(BackupReader(place, second))) == await held_by(store)
