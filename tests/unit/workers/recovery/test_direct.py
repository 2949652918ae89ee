"""Restoring into an empty store: all as it was, gone on with wherever it was interrupted, never into one in use."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from agentbus.contracts.clock import SystemClock
from agentbus.contracts.errors import BackupFull, BackupRefused, MigrationUnfinished, StoreError, StoreUnavailable
from agentbus.contracts.events import Commit
from agentbus.contracts.records import Record, RecordKind
from agentbus.contracts.recovery import Outcome, RestoredSession, RestoreRun
from agentbus.contracts.topology import Topology
from agentbus.storage import private
from agentbus.storage.archive.format import closing
from agentbus.storage.backup import BackupReader, KeptConversation
from agentbus.storage.encryption import EncryptedStore
from agentbus.storage.factory import open_store
from agentbus.storage.memory import MemoryStore
from agentbus.storage.memory.log import MemoryLog
from agentbus.storage.port import Store
from agentbus.storage.reading import iter_log
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.delivery.inputs import Inputs
from agentbus.workers.installation.joining import LINEAGE, check_whole
from agentbus.workers.recovery import RecoveryOptions, Target, direct, records, restore
from agentbus.workers.recovery import held as held_module
from agentbus.workers.recovery.records import NOT_RESTORED, SCAN
from tests.harness.backups import backed_up, backups_in, held_by
from tests.harness.builders import a_commit, a_conversation, a_member, appended, begun
from tests.harness.encryption import MASTERS
from tests.harness.full_store import fill
from tests.harness.restoring import Rows, erasures_of, looked_at, outcomes

KEPT_BACK = {kind.value for kind in NOT_RESTORED}


class Died(BaseException):
    """The process is gone."""


class Mortal(MemoryStore):
    """A store whose process dies at an append, before or after it took effect."""

    def __init__(self) -> None:
        super().__init__()
        self.log = _MortalLog(self)
        self.lives = 10**9
        self.after = False


class _MortalLog(MemoryLog):
    def __init__(self, store: Mortal) -> None:
        super().__init__(store.heads)
        self._store = store

    async def append(self, commits: Sequence[Commit]) -> list[StoreError | None]:
        self._store.lives -= 1
        if self._store.lives < 0 and not self._store.after:
            raise Died
        outcomes = await super().append(commits)
        if self._store.lives < 0:
            raise Died
        return outcomes


@pytest.fixture
async def reader(tmp_path: Path) -> BackupReader:
    source = MemoryStore()
    await fill(source)
    place = backups_in(tmp_path / "backups")
    return BackupReader(place, await backed_up(source, place))


async def into(store: Store, reader: BackupReader, *, directly: bool = True) -> tuple[Rows, RestoreRun]:
    bus = MemoryBus(Topology(partitions=4))
    target = Target(store=store, commands=Inputs(bus), topology=bus.topology, clock=SystemClock())
    erasures = await erasures_of(store)
    steps = [step async for step in restore(target, reader, RecoveryOptions(), erasures, directly=directly)]
    assert isinstance(steps[-1], RestoreRun)
    return {step.session_id: step for step in steps if isinstance(step, RestoredSession)}, steps[-1]


async def expected() -> dict[str, object]:
    """Return what a store holds once the backup was restored to it, by the source."""
    source = MemoryStore()
    await fill(source)
    for kind in NOT_RESTORED.keys() - {RecordKind.DATA_KEY}:  # which come back before all else
        for record in (await source.records.scan(kind, limit=100)).items:
            await source.records.delete(kind, record.key)
    return await held_by(source)


async def without_runs(store: Store) -> dict[str, object]:
    for record in (await store.records.scan(RecordKind.RESTORE, limit=100)).items:
        await store.records.delete(RecordKind.RESTORE, record.key)
    await store.records.delete(RecordKind.INSTALLATION, LINEAGE)
    return await held_by(store)


async def test_an_empty_store_gets_all_of_it_but_what_is_made_anew(reader: BackupReader) -> None:
    store = MemoryStore()
    dry = await looked_at(store, reader)
    rows, run = await into(store, reader)
    assert rows.keys() == dry.keys()
    assert outcomes(rows) == outcomes(dry) == {Outcome.CREATED: len(rows)}
    assert (run.epoch, run.outcomes) == (1, {Outcome.CREATED: len(rows)})
    await check_whole(store)
    assert await without_runs(store) == await expected()


@pytest.mark.parametrize("after", [False, True])
async def test_wherever_it_died_it_goes_on(reader: BackupReader, after: bool) -> None:
    wanted = await expected()
    for lives in range(4):
        store = Mortal()
        store.lives, store.after = lives, after
        with pytest.raises(Died):
            await into(store, reader)
        with pytest.raises(MigrationUnfinished):
            await check_whole(store)
        store.lives = 10**9
        _, run = await into(store, reader)
        assert run.epoch == 1
        await check_whole(store)
        assert await without_runs(store) == wanted


async def test_a_full_disk_is_said_and_gone_on_with(
    reader: BackupReader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (direct, records):
        monkeypatch.setattr(module, "_PATIENCE", direct._PATIENCE.within(0.0))
    monkeypatch.setattr(private, "sync", sync := Filling())
    for number in range(3):
        sync.left = 10**9
        async with open_store(f"file://{tmp_path / str(number)}") as store:
            sync.left = 25 * number
            with pytest.raises(StoreUnavailable, match=r"No space left on device: make room on its disk"):
                await into(store, reader)
            sync.left = 10**9
            if number:
                with pytest.raises(MigrationUnfinished):
                    await check_whole(store)
            _, run = await into(store, reader)
            assert run.epoch == 1
            await check_whole(store)
            assert await without_runs(store) == await expected()


async def test_an_outage_is_waited_out_whatever_is_restored(reader: BackupReader) -> None:
    store = MemoryStore()
    sections = {"log": "append", "heads": "save", "records": "put", "parked": "put", "members": "take_epoch"}
    with pytest.MonkeyPatch.context() as patched:
        for section, name in sections.items():
            patched.setattr(getattr(store, section), name, failing_once(getattr(getattr(store, section), name)))
        await into(store, reader)
    assert await without_runs(store) == await expected()


def failing_once(call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """Let the first call fail; of records the first of each kind, but of those that say that a restore begins."""
    failed: set[object] = {RecordKind.MIGRATION, RecordKind.RESTORE, RecordKind.INSTALLATION}

    async def called(*given: Any, **more: Any) -> Any:
        what = given[0].kind if isinstance(given[0], Record) else ""
        if what not in failed:
            failed.add(what)
            raise StoreUnavailable
        return await call(*given, **more)

    return called


class Filling:
    """A disk that has room for so many writes."""

    def __init__(self) -> None:
        self.left = 0

    def __call__(self, _path: Path) -> None:
        self.left -= 1
        if self.left < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


async def test_no_room_for_temporary_files_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    full = Path("/dev/full")
    monkeypatch.setattr(held_module, "_MOST_EVENTS", 0)
    monkeypatch.setattr("tempfile.TemporaryFile", lambda: full.open("w+b"))
    one = a_conversation("long")
    source = MemoryStore()
    for version in range(1, 200):
        await source.log.append([a_commit(one, version, events=[appended(one, version, "m")])])
    with pytest.raises(BackupFull, match="no room for temporary files"):
        async with closing(iter_log(source, one)) as commits, held_module.held(KeptConversation(one, (), (), commits)):
            pass


async def test_a_store_in_which_there_is_anything_is_asked_through_its_owners(reader: BackupReader) -> None:
    conversation = a_conversation("another")
    for put in ("member", "commit", "record"):
        store = MemoryStore()
        match put:
            case "member":
                await store.members.heartbeat("agentbus", a_member("alive"), ttl=60)
            case "commit":
                await store.log.append([a_commit(conversation, 1, events=[begun(conversation)])])
            case _:
                mark = Record(kind=RecordKind.TEMPLATE, key="t", created_at=SystemClock().now(), data={})
                await store.records.put(mark)
        with pytest.MonkeyPatch.context() as patched:
            asked: list[object] = []

            async def ask(*args: object, asked: list[object] = asked, **_: object) -> None:
                asked.append(args)
                raise Died

            patched.setattr(Inputs, "ask", ask)
            with pytest.raises(Died):
                await into(store, reader)
        assert asked
        await check_whole(store)


async def test_half_of_something_else_is_left_alone(reader: BackupReader) -> None:
    store = MemoryStore()
    data = {"source": "sqlite:///another.db", "run": "x"}
    mark = Record(kind=RecordKind.MIGRATION, key="migration", created_at=SystemClock().now(), data={**data})
    await store.records.put(mark)
    with pytest.raises(BackupRefused):
        await into(store, reader)


async def test_what_something_else_writes_meanwhile_is_seen(reader: BackupReader) -> None:
    store = MemoryStore()
    loading = store.log.load

    async def interfering(conversations: Sequence[object]) -> object:
        loaded = await loading(conversations)  # type: ignore[arg-type] # as it was called
        one = a_conversation("conversation-1")
        await store.log.append([a_commit(one, 1, events=[appended(one, 1, "other")])])
        return loaded

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(store.log, "load", interfering)
        with pytest.raises(BackupRefused):
            await into(store, reader)


async def test_an_encrypted_store_gets_its_keys_first(tmp_path: Path) -> None:
    source = EncryptedStore(MemoryStore(), MASTERS)
    async with source:
        await fill(source)
        place = backups_in(tmp_path)
        manifest = await backed_up(source, place)
    target = EncryptedStore(MemoryStore(), MASTERS)
    async with target:
        assert target.keys
        reader = BackupReader(place, manifest, keys=target.keys)
        await into(target, reader)
        one = a_conversation("conversation-1")
        there = [commit.model_copy(update={"restored": None}) for commit in await target.log.read(one, limit=10)]
        assert there == await source.log.read(one, limit=10)
        parked = (await target.parked.ids(limit=10)).items
        assert parked
        for name in parked:
            assert await target.parked.get(name) == await source.parked.get(name)


def test_every_reason_to_keep_something_back_is_told() -> None:
    assert all(NOT_RESTORED.values())
    assert SCAN
    assert {kind.value for kind in RecordKind} > KEPT_BACK


_RESTORING = """
import asyncio, os, signal, sys
from agentbus.contracts.clock import SystemClock
from agentbus.contracts.topology import Topology
from agentbus.storage.archive.format import closing
from agentbus.storage.backup import BackupReader, open_backups
from agentbus.storage.factory import open_store
from agentbus.storage.sql.log import SqlLog
from agentbus.workers.archive.receipts import Receipts
from agentbus.storage.reading import iter_log
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.delivery.inputs import Inputs
from agentbus.workers.recovery import Erasures, RecoveryOptions, Target, restore

append, left = SqlLog.append, [int(sys.argv[3])]

async def dying(self, commits):
    done = await append(self, commits)
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    return done

SqlLog.append = dying

async def main():
    place = open_backups(sys.argv[2])
    bus = MemoryBus(Topology(partitions=4))
    async with open_store(sys.argv[1]) as store:
        target = Target(store=store, commands=Inputs(bus), topology=bus.topology, clock=SystemClock())
        reader = BackupReader(place, await place.latest())
        async for _ in restore(target, reader, RecoveryOptions(), Erasures(await Receipts.load(store, None))):
            pass

asyncio.run(main())
"""


async def test_killed_it_goes_on_in_another_process(reader: BackupReader, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'restored.db'}"
    command = [sys.executable, "-c", _RESTORING, url, f"file://{tmp_path / 'backups'}", "2"]
    run = subprocess.run(command, cwd=os.getcwd(), capture_output=True, timeout=120, check=False)  # noqa: ASYNC221 - another process is what is tried
    assert run.returncode == -signal.SIGKILL, run.stderr.decode()
    async with open_store(url) as store:
        with pytest.raises(MigrationUnfinished):
            await check_whole(store)
        await into(store, reader)
        await check_whole(store)
        assert await without_runs(store) == await expected()
