"""The epochs of restores: each restore of a store has the next one, and one that was interrupted goes on in its own.

What a restore brings back is marked with its epoch in the log, and is not announced: that was done when it happened.
"""

from datetime import UTC, datetime
from typing import Final

from agentbus.contracts.backup import BackupId
from agentbus.contracts.clock import Clock
from agentbus.contracts.errors import StoreDamaged
from agentbus.contracts.ids import LATEST_LINEAGE
from agentbus.contracts.records import Record, RecordKind
from agentbus.contracts.recovery import RecoveryStrategy, RestoreRun
from agentbus.storage.damage import read_as
from agentbus.storage.port import Store
from agentbus.storage.reading import iter_records
from agentbus.workers.concurrency import passing_over
from agentbus.workers.installation.joining import keep_lineage, read_lineage

GROUP: Final = "restores"

_LINEAGES_BEGIN: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""They count seconds from then: enough for thirty years."""


async def begin_run(
    store: Store, backup_id: BackupId, strategy: RecoveryStrategy, clock: Clock, *, preserve_metadata: bool
) -> RestoreRun:
    """Return the restore that was interrupted, if one of this backup was that was to do the same; else the next one."""
    runs = [_read(record) async for record in iter_records(store, RecordKind.RESTORE, GROUP)]
    wanted = (backup_id, strategy, preserve_metadata)
    for one in runs:
        if one.finished_at is None and (one.backup_id, one.strategy, one.preserve_metadata) == wanted:
            await _begin_lineage(store, one.lineage or await _next_lineage(store, clock), clock)
            return one
    epoch = max((one.epoch for one in runs), default=0) + 1
    lineage = await _next_lineage(store, clock)
    run = RestoreRun(
        epoch=epoch,
        backup_id=backup_id,
        strategy=strategy,
        preserve_metadata=preserve_metadata,
        begun_at=clock.now(),
        lineage=lineage,
    )
    if await store.records.put(_record(run), replace=False):
        await _begin_lineage(store, lineage, clock)
        return run
    return await begin_run(store, backup_id, strategy, clock, preserve_metadata=preserve_metadata)


async def _next_lineage(store: Store, clock: Clock) -> int:
    """Return the lineage of a restore that begins now: a higher one than those before, be they of a store that is lost.

    So it is told by the clock: the store that knew the one before may be the one that is lost.
    """
    seconds = int((clock.now() - _LINEAGES_BEGIN).total_seconds())
    return min(max(seconds, await _lineage_before(store) + 1), LATEST_LINEAGE)


async def _begin_lineage(store: Store, lineage: int, clock: Clock) -> None:
    if await _lineage_before(store) < lineage:
        await keep_lineage(store, lineage, clock)


async def _lineage_before(store: Store) -> int:
    lineage: int | None = None
    with passing_over(StoreDamaged):  # It is written anew.
        lineage = await read_lineage(store)
    return lineage or 0


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
