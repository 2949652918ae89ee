"""Copying all that a store holds to another one: page by page, resumable at any moment, verified in the end.

How far it is stands in a record of the target: another run goes on from there, and workers do not start on that store.
Every run has a mark in the record, and looks whether it is still there before each page: so of two runs the later one
goes on, and the earlier one ends.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final
from uuid import uuid4

from pydantic import Field

from agentbus.composition.app import make_clock, make_store_as_kept, place_of
from agentbus.contracts.base import Announced
from agentbus.contracts.clock import Clock
from agentbus.contracts.errors import MigrationDiffers, MigrationRefused, StoreUnavailable
from agentbus.contracts.records import Record, RecordKind
from agentbus.operations.store_info import ALIVE
from agentbus.storage.damage import read_as
from agentbus.storage.port import Store
from agentbus.workers.installation.joining import MIGRATION, unfinished_migration
from agentbus.workers.patience import Patience, Result
from agentbus.workers.store_parts import PARTS, Figures, figures_of, found_in

if TYPE_CHECKING:
    from agentbus.settings import Settings

_VERIFYING: Final = "verifying"
_PATIENCE: Final = Patience(transient=(StoreUnavailable,), seconds=60, longest_wait=5)


@dataclass(frozen=True, slots=True)
class Copied:
    """How many things of a part were copied so far by this run."""

    part: str
    things: int


@dataclass(frozen=True, slots=True)
class Verified:
    """How far a store was read again: the source first, then the target."""

    store: str
    figures: Figures


@dataclass(frozen=True, slots=True)
class Migrated:
    """What both stores hold in the end."""

    figures: Figures


class _Mark(Announced):
    """What the record of a migration says."""

    source: str = Field(description="Where the source is, without a password.")
    run: str = Field(description="Of the run that works on it: made up at its start.")
    part: str = Field(default="", description="Of all that is copied, in its order: the part that is being copied.")
    cursor: str | None = Field(default=None, description="Where the part's next page begins.")


async def migrate(settings: "Settings", source: str, target: str) -> AsyncGenerator[Copied | Verified | Migrated, None]:
    """Copy the store at the URL `source` to the one at `target`, as `migrate_store` does. Raises what it raises."""
    if (place := place_of(source)) == place_of(target):
        raise MigrationRefused(f"source and target are the same store, {place}")
    async with (
        make_store_as_kept(settings, source) as there,
        make_store_as_kept(settings, target) as here,
        aclosing(migrate_store(there, here, place=place, clock=make_clock())) as steps,
    ):
        async for step in steps:
            yield step


async def migrate_store(
    source: Store, target: Store, *, place: str, clock: Clock
) -> AsyncGenerator[Copied | Verified | Migrated, None]:
    """Copy all that `source` holds to `target`, which must be empty, or have been left in the middle of this before.

    Locks and members are not copied, the locks' last tokens and the partitions' epochs are. `place` says where the
    source is, without a password: the same in each run. Nothing may write to either store meanwhile; what did shows in
    the end, as both are then read and compared. A store that does not answer is waited for, a minute at most.
    Raises MigrationRefused, MigrationDiffers, StoreDamaged, StoreRejected, StoreUnavailable: each but the first may be
    followed by another run, which goes on where this one ended.
    """
    migration = _Migration(source, target, clock)
    await migration.begin(place)
    for part in (migration.copy(), migration.verify()):
        async with aclosing(part) as steps:
            async for step in steps:
                yield step


class _Migration:
    """One run."""

    def __init__(self, source: Store, target: Store, clock: Clock) -> None:
        self._source = source
        self._target = target
        self._clock = clock
        self._mark = _Mark(source="", run=uuid4().hex)

    async def begin(self, place: str) -> None:
        """Make sure that it may be done, and claim the target."""
        await self._refuse_life()
        if left := await unfinished_migration(self._source):
            raise MigrationRefused(f"the source is itself half a copy of {left}: finish that migration first")
        left = await unfinished_migration(self._target)
        if left not in {None, place}:
            raise MigrationRefused(
                f"the target is half a copy of {left}: finish that migration, or take an empty store as the target"
            )
        if left is None:
            await self._refuse_what_is_there()
        await self._claim(place, anew=left is None)

    async def _refuse_life(self) -> None:
        for name, store in (("source", self._source), ("target", self._target)):
            if alive := await store.members.everyone(ttl=ALIVE):
                workers = sorted({f"{one.worker_id} on {one.host}" for one in alive})
                raise MigrationRefused(
                    f"the {name} is in use by workers ({', '.join(workers)}): stop them and all else that writes to "
                    f"it, then run this again; {ALIVE:g} s later, if they were killed"
                )

    async def _refuse_what_is_there(self) -> None:
        if found := await found_in(self._target):
            raise MigrationRefused(
                f"the target is not empty ({', '.join(found)} are there), or it is the source by another name: "
                "take an empty store as the target"
            )
        if not await found_in(self._source):
            raise MigrationRefused("the source holds nothing: is its URL right?")

    async def _claim(self, place: str, *, anew: bool) -> None:
        if not anew:
            kept = await _read_mark(self._target)
            self._mark = (kept or self._mark).model_copy(update={"run": self._mark.run})
        self._mark = self._mark.model_copy(update={"source": place})
        if not await self._target.records.put(self._record(), replace=not anew):
            raise MigrationRefused("another migration to the same target has just begun")

    async def copy(self) -> AsyncGenerator[Copied, None]:
        """Copy what is not copied yet."""
        names = [part.name for part in PARTS]
        begun = names.index(self._mark.part) if self._mark.part in names else 0
        if self._mark.part == _VERIFYING:
            return
        for part in PARTS[begun:]:
            cursor = self._mark.cursor if part.name == self._mark.part else None
            things = 0
            while True:
                step = await _answered(partial(part.copy, self._source, self._target, cursor))
                things, cursor = things + step.copied, step.cursor
                if step.copied:
                    yield Copied(part.name, things)
                if cursor is None:
                    break
                await self._note(part.name, cursor)
        await self._note(_VERIFYING, None)

    async def verify(self) -> AsyncGenerator[Verified | Migrated, None]:
        """Read both stores again, and compare them."""
        found: list[Figures] = []
        for name, store in (("source", self._source), ("target", self._target)):
            async with aclosing(figures_of(store)) as growing:
                async for figures in growing:
                    yield Verified(name, figures)
            found.append(figures)
        there, here = found
        if there.as_dict() != here.as_dict():
            await self._note("", None)
            raise MigrationDiffers(
                f"the copy differs from the source in {', '.join(_differing(there, here))}: something wrote to one of "
                "them meanwhile. Stop it, and run this again: what is missing is then copied, and both are compared "
                "again. If they differ still, begin anew with an empty target",
                source=there.as_dict(),
                target=here.as_dict(),
            )
        await self._refuse_others()
        await self._target.records.delete(RecordKind.MIGRATION, MIGRATION)
        yield Migrated(here)

    async def _note(self, part: str, cursor: str | None) -> None:
        """Note in the target how far this is, unless another run has taken over."""
        await self._refuse_others()
        self._mark = self._mark.model_copy(update={"part": part, "cursor": cursor})
        await _answered(partial(self._target.records.put, self._record()))

    async def _refuse_others(self) -> None:
        kept = await _answered(partial(_read_mark, self._target))
        if kept is None or kept.run != self._mark.run:
            raise MigrationRefused("another run of this migration has begun, and goes on in this one's place")

    def _record(self) -> Record:
        data = self._mark.model_dump(mode="json")
        return Record(kind=RecordKind.MIGRATION, key=MIGRATION, created_at=self._clock.now(), data=data)


async def _read_mark(store: Store) -> _Mark | None:
    record = await store.records.get(RecordKind.MIGRATION, MIGRATION)
    return read_as("the migration's record", _Mark.model_validate, record.data) if record else None


async def _answered(call: Callable[[], Awaitable[Result]]) -> Result:
    return await _PATIENCE.call(call)


def _differing(one: Figures, other: Figures) -> list[str]:
    mine, others = one.as_dict(), other.as_dict()
    return [f"{name} ({mine[name]} and {others[name]})" for name in mine if mine[name] != others[name]]
