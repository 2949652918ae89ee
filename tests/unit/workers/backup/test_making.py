"""A backup holds all that a store holds, each conversation as of one moment; it is gone on with after any end."""

import errno
import os
from collections.abc import AsyncIterator, Collection, Coroutine
from contextlib import aclosing
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from agentbus.contracts.backup import BackupFormat, Manifest
from agentbus.contracts.clock import Clock, ManualClock, SystemClock
from agentbus.contracts.errors import BackupFull, BackupRefused
from agentbus.contracts.ids import ConversationId
from agentbus.contracts.records import Record, RecordKind
from agentbus.contracts.session import SessionStatus
from agentbus.storage.backup import BackupPlace, BackupReader, open_backups
from agentbus.storage.backup.begun import all_begun
from agentbus.storage.backup.lines import RECORDS
from agentbus.storage.backup.retention import Keep
from agentbus.storage.backup.sweeping import sweep
from agentbus.storage.factory import open_store
from agentbus.storage.memory import MemoryStore
from agentbus.storage.port import Loaded, Store
from agentbus.testing.cancelling import When, cancel_everywhere
from agentbus.testing.conformance.inside import spoil
from agentbus.workers.backup import Damaged, Wanted, back_up, making
from agentbus.workers.backup.keeping import not_kept
from tests.harness.backups import SIGNING, SOURCE, backed_up, faults_of, held_by, put_back
from tests.harness.builders import NOON, a_commit, a_conversation, a_head, a_parked, appended, begun
from tests.harness.full_store import fill


class Died(BaseException):
    """The process is gone."""


@pytest.fixture
async def store() -> MemoryStore:
    store = MemoryStore()
    await fill(store)
    return store


@pytest.fixture
def place() -> BackupPlace:
    return open_backups(f"memory://{uuid4().hex}", signing=SIGNING)


async def write(store: Store, name: str, *versions: int) -> None:
    """Append messages to a conversation."""
    one = a_conversation(name)
    for version in versions:
        events = [begun(one)] if version == 1 else [appended(one, version, f"{name} {version}")]
        assert await store.log.append([a_commit(one, version, events=events)]) == [None]
        await store.heads.save([a_head(one, version=version)])


@pytest.mark.parametrize("form", BackupFormat)
async def test_all_that_a_store_holds_comes_back(store: MemoryStore, place: BackupPlace, form: BackupFormat) -> None:
    manifest = await backed_up(store, place, form, description="before the move", tags=("weekly",))
    assert (manifest.description, manifest.tags, manifest.source) == ("before the move", ("weekly",), SOURCE)
    held = await held_by(store)
    assert await held_by(await put_back(BackupReader(place, manifest))) == held
    counts = manifest.counts
    assert (counts.conversations, counts.sessions, counts.messages, counts.commits, counts.parked) == (
        held["conversations"],
        held["sessions"],
        held["messages"],
        held["commits"],
        held["parked"],
    )
    assert counts.records == held["records"] - held["records_by_kind"]["data_key"]
    assert await faults_of(place) == {}
    assert await place.manifest(manifest.backup_id) == manifest


async def test_an_incremental_one_reads_and_writes_what_has_changed(store: MemoryStore, place: BackupPlace) -> None:
    for number in range(20):
        await write(store, f"c{number}", 1, 2)
    full = await backed_up(store, place)
    await write(store, "c3", 3)
    await write(store, "new", 1)
    await store.records.delete(RecordKind.TEMPLATE, "$a.b")
    reading: list[str] = []
    _watch_reads(store, reading)
    manifest = await backed_up(store, place, incremental=True)
    assert manifest.base == full.backup_id
    assert set(reading) == {a_conversation("c3"), a_conversation("new")}
    assert manifest.written < full.written / 10
    assert manifest.counts.conversations == full.counts.conversations + 1
    assert manifest.counts.messages == full.counts.messages + 1
    held = await held_by(store)
    assert await held_by(await put_back(BackupReader(place, manifest))) == held
    assert await held_by(await put_back(BackupReader(place, full))) != held

    nothing = await backed_up(store, place, incremental=True)
    assert nothing.written == 0
    assert await held_by(await put_back(BackupReader(place, nothing))) == held


def _watch_reads(store: MemoryStore, reading: list[str]) -> None:
    read = store.log.read

    async def watched(conversation: str, **more: object) -> object:
        reading.append(conversation)
        return await read(conversation, **more)  # type: ignore[arg-type] # as it was called

    store.log.read = watched  # type: ignore[method-assign, assignment] # a test's own


async def test_a_full_one_of_what_has_not_changed_finds_its_files_there(store: MemoryStore, place: BackupPlace) -> None:
    first = await backed_up(store, place)
    second = await backed_up(store, place)
    assert (second.base, second.written, second.size) == (None, 0, first.size)
    await place.forget(first.backup_id)
    await sweep(place, first.finished_at)
    assert await faults_of(place) == {}
    assert await held_by(await put_back(BackupReader(place, second))) == await held_by(store)


async def interrupted(
    store: MemoryStore, place: BackupPlace, wanted: Wanted, steps: int, clock: Clock
) -> Manifest | None:
    """Make a backup, and end as a process that is killed does: what was in memory is gone. The manifest, if it came."""
    made: AsyncIterator[object] = back_up(store, place, wanted, source=SOURCE, clock=clock)
    async with aclosing(made) as run:  # type: ignore[type-var] # an async generator, as it is
        async for step in run:
            if isinstance(step, Manifest):
                return step
            steps -= 1
            if not steps:
                return None
    return None


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let files, groups and pages be small: there are many places to be interrupted at."""
    monkeypatch.setattr("agentbus.storage.backup.writing.FILE_BYTES", 2_000)
    monkeypatch.setattr("agentbus.storage.backup.writing._GROUP_THINGS", 3)
    monkeypatch.setattr("agentbus.storage.backup.writing._PAGE_GROUPS", 2)
    monkeypatch.setattr("agentbus.workers.backup.making._PAGE", 2)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("incremental", [False, True])
async def test_one_that_was_interrupted_is_not_listed_and_is_gone_on_with(
    store: MemoryStore, place: BackupPlace, *, incremental: bool
) -> None:
    before = []
    clock = ManualClock()
    if incremental:
        before.append(await backed_up(store, place, clock=clock))
        clock.advance(timedelta(seconds=1))
        await write(store, "later", 1, 2)
    wanted = Wanted(incremental=incremental)
    manifest: Manifest | None = None
    runs = 0
    while manifest is None:
        runs += 3
        assert [one.manifest for one in await place.backups()] == before
        manifest = await interrupted(store, place, wanted, runs, clock)
        begun_ones = await all_begun(place)
        assert len(begun_ones) == (0 if manifest else 1)
    assert runs > 10
    assert await held_by(await put_back(BackupReader(place, manifest))) == await held_by(store)
    assert await faults_of(place) == {}, "what the runs before left behind is gone"
    assert [one.manifest for one in await place.backups()] == [manifest, *before]


async def test_one_that_ended_in_the_moment_in_which_it_was_finished_is_not_finished_twice(
    store: MemoryStore, place: BackupPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def died(*_: object) -> None:
        raise Died

    with monkeypatch.context() as patch:
        patch.setattr("agentbus.storage.backup.writing.give_up", died)
        with pytest.raises(Died):
            await backed_up(store, place)
    (first,) = await place.backups()
    second = await backed_up(store, place)
    assert second.backup_id != first.backup_id
    assert [one.backup_id for one in await place.backups()] == [second.backup_id, first.backup_id]
    assert await all_begun(place) == []


async def test_conversations_that_are_gone_are_gone_from_the_next_one(store: MemoryStore, place: BackupPlace) -> None:
    for number in range(30):
        await write(store, f"c{number}", 1)
    await backed_up(store, place)
    fewer = MemoryStore()
    await fill(fewer)
    await write(fewer, "c7", 1)
    made = await backed_up(fewer, place, incremental=True)
    assert made.base is not None
    assert await held_by(await put_back(BackupReader(place, made))) == await held_by(fewer)


async def test_two_runs_at_once_end_in_one_backup(store: MemoryStore, place: BackupPlace) -> None:
    first = back_up(store, place, Wanted(), source=SOURCE, clock=ManualClock())
    async with aclosing(first):
        await anext(first)
        second = await backed_up(store, place, clock=ManualClock())
        with pytest.raises(BackupRefused, match="given up meanwhile"):
            async for _ in first:
                pass
    assert [one.manifest for one in await place.backups()] == [second]


async def test_one_of_another_kind_is_given_up_and_so_is_one_that_is_too_old(
    store: MemoryStore, place: BackupPlace
) -> None:
    await interrupted(store, place, Wanted(), 1, ManualClock())
    await interrupted(store, place, Wanted(file_format=BackupFormat.JSON_GZ), 1, ManualClock())
    (left,) = await all_begun(place)
    assert left.file_format is BackupFormat.JSON_GZ
    clock = ManualClock()
    clock.advance(timedelta(days=1))
    made = await backed_up(store, place, BackupFormat.JSON_GZ, clock=clock)
    assert made.backup_id != left.backup_id
    assert await all_begun(place) == []
    await sweep(place, clock.now())
    assert await faults_of(place) == {}


async def test_sweeping_spares_what_is_being_written_and_what_that_builds_on(
    store: MemoryStore, place: BackupPlace
) -> None:
    clock = ManualClock()
    full = await backed_up(store, place, clock=clock)
    await write(store, "later", 1)
    made = back_up(store, place, Wanted(incremental=True), source=SOURCE, clock=clock)
    async with aclosing(made) as run:
        await anext(run)
        await place.forget(full.backup_id)
        assert (await sweep(place, clock.now())).files == 0
        *_, step = [one async for one in run]
    assert isinstance(step, Manifest)
    assert await held_by(await put_back(BackupReader(place, step))) == await held_by(store)
    assert await faults_of(place) == {}
    await place.forget(step.backup_id)
    assert (await sweep(place, clock.now())).files > 0
    assert await faults_of(place) == {}


async def test_a_conversation_is_there_as_of_one_moment_while_it_is_written_to(
    store: MemoryStore, place: BackupPlace
) -> None:
    await write(store, "busy", 1, 2)
    read = store.log.read
    version = 2

    async def meanwhile(conversation: str, **more: object) -> object:
        nonlocal version
        if conversation == a_conversation("busy"):
            version += 1
            await write(store, "busy", version)
        return await read(conversation, **more)  # type: ignore[arg-type] # as it was called

    store.log.read = meanwhile  # type: ignore[method-assign, assignment] # a test's own
    manifest = await backed_up(store, place)
    (kept,) = [one async for one in _conversations(BackupReader(place, manifest)) if one[0] == a_conversation("busy")]
    _, heads, versions = kept
    assert (heads, versions) == ([2], [1, 2])


async def _conversations(reader: BackupReader) -> AsyncIterator[tuple[str, list[int], list[int]]]:
    async for one in reader.conversations():
        versions = [commit.version async for commit in one.commits]
        yield one.conversation_id, [head.version for head in one.heads], versions


async def test_what_has_not_changed_is_not_loaded_where_the_store_tells_so(place: BackupPlace, tmp_path: Path) -> None:
    async with open_store(f"sqlite:///{tmp_path}/store.db") as store:
        await fill(store)
        await write(store, "ended", 1, 2)
        await store.heads.save([a_head(a_conversation("ended"), version=2, status=SessionStatus.EXPIRED)])
        for name in ("first", "second"):
            await write(store, name, 1, 2)
        full = await backed_up(store, place)
        await write(store, "second", 3)
        loaded: list[str] = []
        load = store.log.load

        async def watched(conversations: Collection[ConversationId]) -> dict[ConversationId, Loaded]:
            loaded.extend(conversations)
            return await load(conversations)

        store.log.load = watched  # type: ignore[method-assign] # a test's own
        manifest = await backed_up(store, place, incremental=True)
        assert loaded == [a_conversation("second")]
        assert manifest.counts.conversations == full.counts.conversations
        assert manifest.counts.messages == full.counts.messages + 1
        held = await held_by(store)
        assert await held_by(await put_back(BackupReader(place, manifest))) == held


@pytest.mark.parametrize("url", ["file://{}/store", "sqlite:///{}/store.db"])
async def test_what_is_damaged_is_told_and_all_else_is_backed_up(url: str, place: BackupPlace, tmp_path: Path) -> None:
    templates = [Record(kind=RecordKind.TEMPLATE, key=key, created_at=NOON, data={"is": key}) for key in "abcde"]
    parked = [a_parked("one"), a_parked("two")]
    clock, kept = ManualClock(), open_store(url.format(tmp_path))

    async def made(*, incremental: bool = False) -> tuple[Manifest, list[str], MemoryStore]:
        clock.advance(timedelta(seconds=1))
        steps = back_up(kept, place, Wanted(incremental=incremental), source=SOURCE, clock=clock)
        *others, manifest = [step async for step in steps]
        assert isinstance(manifest, Manifest)
        told = sorted(str(step.damage) for step in others if isinstance(step, Damaged))
        return manifest, told, await put_back(BackupReader(place, manifest))

    async def held(backup: MemoryStore) -> tuple[str, set[str]]:
        keys = [record.key for record in (await backup.records.scan(RecordKind.TEMPLATE, limit=10)).items]
        return "".join(keys), {*(await backup.parked.ids(limit=10)).items}

    async with kept:
        await kept.records.put_many(templates)
        await kept.parked.put_many(parked)
        await write(kept, "c", 1)
        good = await backed_up(kept, place, clock=clock)
        for one in (templates[1], templates[2], parked[0]):
            await spoil(kept, one)
        await kept.records.delete(RecordKind.TEMPLATE, "e")

        incremental, told, backup = await made(incremental=True)
        assert (incremental.counts.damaged, len(told), incremental.is_complete) == (3, 3, False)
        assert all("is damaged" in words for words in told)
        # Where it is known which one is damaged, what else is gone is gone.
        assert await held(backup) == ("abcde" if "file" in url else "abcd", {one.parked_id for one in parked})
        full, told, backup = await made()
        assert (full.counts.damaged, len(told)) == (3, 3)
        assert await held(backup) == ("ad", {parked[1].parked_id})
    going = await not_kept(place, Keep(last=1))
    assert going == [incremental.backup_id], f"the latest stays, and {good.backup_id}: nothing is damaged in it"


async def test_a_full_disk_is_said_and_what_was_good_stays(
    store: MemoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = open_backups(f"file://{tmp_path}")
    good = await backed_up(store, place)
    await write(store, "later", 1)

    def no_room(_file: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for wanted in (Wanted(), Wanted(incremental=True)):
        with monkeypatch.context() as patch:
            patch.setattr(place.folder, "settle", no_room)
            with pytest.raises(BackupFull, match="there is no room left in the place of the backups"):
                await interrupted(store, place, wanted, 1000, SystemClock())
        assert [one.manifest for one in await place.backups()] == [good]
        assert await faults_of(place) == {}, "nothing half written is left"
    made = await backed_up(store, place, incremental=True)
    assert made.base == good.backup_id
    assert await held_by(await put_back(BackupReader(place, made))) == await held_by(store)


async def test_one_that_is_cancelled_at_any_await_is_gone_on_with(monkeypatch: pytest.MonkeyPatch) -> None:
    few = {kind: of_it for kind, of_it in making._BESIDE[RECORDS].items() if kind.name == "records: template"}
    monkeypatch.setattr(making, "_BESIDE", {RECORDS: few})
    store = MemoryStore()
    await write(store, "one", 1, 2)
    await store.records.put(Record(kind=RecordKind.TEMPLATE, key="t", created_at=NOON, data={}))
    held = await held_by(store)
    place = open_backups("memory://none")

    async def prepare() -> Coroutine[Any, Any, object]:
        nonlocal place
        place = open_backups(f"memory://{uuid4().hex}")
        return backed_up(store, place)

    async def check() -> None:
        made = await place.latest() or await backed_up(store, place)
        assert await held_by(await put_back(BackupReader(place, made))) == held
        assert await all_begun(place) == [] or await faults_of(place) == {}

    assert await cancel_everywhere(prepare, check, when=When.INSISTING) > 20
