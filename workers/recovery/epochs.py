"""The epochs of restores: each restore of a store has the next one, and one that was interrupted goes on in its own.

What a restore brings back is marked with its epoch in the log, and is not announced: that was done when it happened.
"""

from typing import Final

from agentbus.contracts.backup import BackupId
from agentbus.contracts.clock import Clock
from agentbus.contracts.records import Record, RecordKind
from agentbus.contracts.recovery import RecoveryStrategy, RestoreRun
from agentbus.storage.damage import read_as
from agentbus.storage.port import Store
from agentbus.storage.reading import iter_records

GROUP: Final = "restores"


async def begin_run(
    store: Store, backup_id: BackupId, strategy: RecoveryStrategy, clock: Clock, *, preserve_metadata: bool
) -> RestoreRun:
    """Return the restore that was interrupted, if one of this backup was that was to do the same; else the next one."""
    runs = [_read(record) async for record in iter_records(store, RecordKind.RESTORE, GROUP)]
    wanted = (backup_id, strategy, preserve_metadata)
    for one in runs:
        if one.finished_at is None and (one.backup_id, one.strategy, one.preserve_metadata) == wanted:
            return one
    epoch = max((one.epoch for one in runs), default=0) + 1
    run = RestoreRun(
        epoch=epoch,
        backup_id=backup_id,
        strategy=strategy,
        preserve_metadata=preserve_metadata,
        begun_at=clock.now(),
    )
    if await store.records.put(_record(run), replace=False):
        return run
    return await begin_run(store, backup_id, strategy, clock, preserve_metadata=preserve_metadata)


async def end_run(store: Store, run: RestoreRun) -> None:
    """Keep what became of a restore."""
    await store.records.put(_record(run))


async def runs_of(store: Store) -> list[RestoreRun]:
    """Return all restores of a store, the latest first. Raises StoreDamaged, StoreUnavailable."""
    runs = [_read(record) async for record in iter_records(store, RecordKind.RESTORE, GROUP)]
    return sorted(runs, key=lambda one: one.epoch, reverse=True)


def _read(record: Record) -> RestoreRun:
    return read_as(f"the record of restore {record.key}", RestoreRun.model_validate, record.data)


def _record(run: RestoreRun) -> Record:
    return Record(
        kind=RecordKind.RESTORE,
        key=run.name,
        group=GROUP,
        created_at=run.begun_at,
        data=run.model_dump(mode="json"),
        revision=int(run.finished_at is not None),
    )
