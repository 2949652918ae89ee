"""What writes and merges leave of a session: its data and metadata, the stamps of their fields, its clock."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydantic import JsonValue

from agentbus.contracts.events import (
    ConflictOpened,
    ConflictResolved,
    ContextMerged,
    DataSet,
    IdentityLinked,
    IdentityUnlinked,
    MetadataSet,
    SessionStarted,
)
from agentbus.contracts.session import SessionState
from agentbus.contracts.stamps import Stamp
from agentbus.contracts.sync import ConflictStrategy, Entry, TurnedDown
from agentbus.workers.domain.sync.conflicts import still_open, with_opened
from agentbus.workers.domain.sync.fields import DATA, METADATA, key_of, leaves, touched, with_fields
from agentbus.workers.domain.sync.merging import WHOLE_KEYS, seen_of

MAX_REMOVED: Final = 1000
"""How many removed fields a session remembers; the ones removed first are forgotten."""

MAX_TURNED_DOWN: Final = 1000
"""How many values that it did not take a session remembers; the earliest are forgotten."""


def after_start(event: SessionStarted, clock: Stamp | None) -> dict[str, Any]:
    """Return the stamps and the clock of a session that began; `clock` is that of the one before it."""
    if event.stamp is None:
        return {"clock": clock}
    fields = {**leaves(DATA, event.data), **leaves(METADATA, event.metadata)}
    return {"stamps": dict.fromkeys(fields, event.stamp), "clock": latest(clock, (event.stamp,))}


def after_write(
    state: SessionState, event: DataSet | MetadataSet, area: str, values: dict[str, JsonValue]
) -> dict[str, Any]:
    """Return what a write changes; `values` are the data, or metadata, that it leaves.

    A session that was never linked has nobody to tell what it removed, and forgets it.
    """
    changes: dict[str, Any] = {area: values, "last_activity": event.at}
    if event.stamp is None:
        return changes
    new, gone = touched(area, event.values, event.bases)
    stamps = {**state.stamps, **dict.fromkeys((*new, *gone), event.stamp)}
    if state.identity is None and not state.unlinked:
        stamps = {field: stamp for field, stamp in stamps.items() if field not in gone}
    changes |= {"stamps": stamps, "clock": latest(state.clock, (event.stamp,))}
    return _noted(state, changes)


def after_sharing(
    state: SessionState, event: IdentityLinked | IdentityUnlinked | ContextMerged | ConflictOpened | ConflictResolved
) -> dict[str, Any]:
    """Return what an event between linked sessions changes."""
    match event:
        case IdentityLinked():
            return {"identity": event.linked}
        case IdentityUnlinked():
            return {"identity": None, "unlinked": True}
        case ContextMerged():
            return _after_merge(state, event)
        case ConflictOpened():
            # What was offered counts as seen.
            clock = latest(state.clock, (one.offered.stamp for one in event.conflicts))
            return {"conflicts": with_opened(state.conflicts, event.conflicts), "clock": clock}
        case ConflictResolved():
            return _noted(state, _with_entries(state, event.entries, whole=False), event.entries)


def _after_merge(state: SessionState, event: ContextMerged) -> dict[str, Any]:
    whole = event.strategy in WHOLE_KEYS
    told = [TurnedDown(field=key_of(entry.field), stamp=entry.base) for entry in event.kept if entry.base]
    if event.strategy is ConflictStrategy.SOURCE_PRIORITY:
        told += _outranked(state, event.applied)
    changes = _with_entries(state, event.applied, whole=whole)
    changes["clock"] = latest(changes["clock"], (one.stamp for one in told))
    return _noted(state, changes, event.applied, told, whole=whole)


def _outranked(state: SessionState, applied: Iterable[Entry]) -> list[TurnedDown]:
    """Return the values that others take the place of: whoever still passes them on needs no answer."""
    keys = {key_of(entry.field) for entry in applied}
    return [
        TurnedDown(field=key_of(field), stamp=stamp) for field, stamp in state.stamps.items() if key_of(field) in keys
    ]


def latest(clock: Stamp | None, stamps: Iterable[Stamp]) -> Stamp | None:
    """Return the latest of a clock and stamps."""
    return max((*stamps, *((clock,) if clock else ())), default=None)


def _with_entries(state: SessionState, entries: tuple[Entry, ...], *, whole: bool) -> dict[str, Any]:
    data, metadata, stamps = with_fields(state, entries, whole=whole)
    clock = latest(state.clock, (entry.stamp for entry in entries))
    return {DATA: data, METADATA: metadata, "stamps": stamps, "clock": clock}


def _noted(
    state: SessionState,
    changes: dict[str, Any],
    entries: Iterable[Entry] = (),
    told: Iterable[TurnedDown] = (),
    *,
    whole: bool = False,
) -> dict[str, Any]:
    """Return `changes` with the conflicts that are left after them, and what was turned down."""
    after = state.model_copy(update=changes)
    noted = [*told]
    if state.conflicts:
        left = still_open(after, entries, whole=whole)
        changes["conflicts"] = left
        open_ones = {(one.field, one.offered.stamp) for one in left}
        over = (one.offered for one in state.conflicts if (one.field, one.offered.stamp) not in open_ones)
        noted += (TurnedDown(field=one.field, stamp=one.stamp) for one in over)
    if noted:
        changes["turned_down"] = _latest_of((*state.turned_down, *noted))
    if len(changes["stamps"]) > MAX_REMOVED:
        changes["stamps"] = _remembered(after, changes["stamps"])
    return changes


def _latest_of(turned_down: Iterable[TurnedDown]) -> tuple[TurnedDown, ...]:
    """Return what was turned down, of each field and writer the latest, and not more than is remembered."""
    latest = sorted((stamp, field) for (field, _), stamp in seen_of(turned_down).items())
    return tuple(TurnedDown(field=field, stamp=stamp) for stamp, field in latest[-MAX_TURNED_DOWN:])


def _remembered(state: SessionState, stamps: Mapping[str, Stamp]) -> dict[str, Stamp]:
    """Return stamps without those of the fields that were removed first, beyond so many."""
    there = leaves(DATA, state.data) | leaves(METADATA, state.metadata)
    removed = sorted((stamp, field) for field, stamp in stamps.items() if field not in there)
    forgotten = {field for _, field in removed[: max(0, len(removed) - MAX_REMOVED)]}
    return {field: stamp for field, stamp in stamps.items() if field not in forgotten}
