"""Backups for tests: made in one go, and read again as a store."""

from pathlib import Path
from typing import Any

from agentbus.contracts.backup import BackupFormat, Manifest
from agentbus.contracts.clock import Clock, SystemClock
from agentbus.storage.backup import BackupPlace, BackupReader, SessionDigests, open_backups
from agentbus.storage.backup.verifying import Fault, verify
from agentbus.storage.memory import MemoryStore
from agentbus.storage.port import Store
from agentbus.workers.backup import Damaged, Wanted, back_up
from agentbus.workers.store_parts import EpochsPart, ParkedPart, TokensPart, figures_of

SIGNING = "signing-key-of-the-tests-0123456789"
SOURCE = "memory://the tests"


def backups_in(folder: Path, *, signing: str | None = SIGNING) -> BackupPlace:
    """Return the backups in a folder."""
    return open_backups(f"file://{folder}", signing=signing)


async def backed_up(
    store: Store,
    place: BackupPlace,
    form: BackupFormat = BackupFormat.JSON,
    *,
    incremental: bool = False,
    clock: Clock | None = None,
    **more: Any,
) -> Manifest:
    """Make a backup, of a store in which nothing is damaged."""
    wanted = Wanted(file_format=form, incremental=incremental, **more)
    steps = [step async for step in back_up(store, place, wanted, source=SOURCE, clock=clock or SystemClock())]
    assert not [step for step in steps if isinstance(step, Damaged)]
    assert isinstance(steps[-1], Manifest)
    return steps[-1]


async def faults_of(place: BackupPlace, backup_id: str | None = None) -> dict[str, str]:
    """Verify; return what is wrong, by file."""
    return {step.path: step.reason async for step in verify(place, backup_id) if isinstance(step, Fault)}


async def put_back(reader: BackupReader) -> MemoryStore:
    """Return a store with what a backup holds, each session's digest compared on the way."""
    store = MemoryStore()
    async for one in reader.conversations():
        digests = SessionDigests()
        async for commit in one.commits:
            digests.add(commit)
            assert await store.log.append([commit]) == [None]
        assert await store.heads.save(one.heads) == [None] * len(one.heads)
        marks = digests.marks({head.session_id: head for head in one.heads})
        assert marks == one.sessions
    async for record in reader.records():
        await store.records.put_many([record])
    async for record in reader.data_keys():
        await store.records.put_many([record])
    await ParkedPart().put(store, [one async for one in reader.parked()])
    await EpochsPart().put(store, [one async for one in reader.epochs()])
    await TokensPart().put(store, [one async for one in reader.tokens()])
    return store


async def held_by(store: Store) -> dict[str, Any]:
    """Return the figures of a store, with the digests of all that it holds."""
    *_, figures = [one async for one in figures_of(store)]
    return figures.as_dict()
