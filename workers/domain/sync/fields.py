"""Fields of data and metadata by JSON pointer, and the registers that say when each was written.

A field is a leaf: anything that is no non-empty object. A register is a field's stamp with its value, or without one:
it was removed, or what was written above or below it covers it. Fields from before there were stamps count as written
when their session began.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from pydantic import JsonValue

from agentbus.contracts.events import DataSet, MetadataSet
from agentbus.contracts.session import SessionState
from agentbus.contracts.stamps import Stamp, next_stamp
from agentbus.contracts.sync import Entry

DATA: Final = "data"
METADATA: Final = "metadata"
_AREAS: Final = (DATA, METADATA)
_BEFORE_STAMPS: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Register(NamedTuple):
    """A field's latest stamp, and its value unless it has none."""

    stamp: Stamp
    value: JsonValue = None
    removed: bool = False


Registers = dict[str, Register]
"""By field."""


def leaves(area: str, values: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Return the fields of `values` with what is there; `area` is `data` or `metadata`."""
    found: dict[str, JsonValue] = {}
    _collect(f"/{area}", values, found)
    return found


def _collect(above: str, values: Mapping[str, JsonValue], found: dict[str, JsonValue]) -> None:
    for key, value in values.items():
        where = f"{above}/{_escaped(key)}"
        if isinstance(value, dict) and value:
            _collect(where, value, found)
        else:
            found[where] = value


def keys_of(field: str) -> list[str]:
    """Return the area and the keys that lead to a field."""
    return [_unescaped(step) for step in field.split("/")[1:]]


def key_of(field: str) -> str:
    """Return the pointer to the top-level key that a field is under, or is."""
    end = field.find("/", field.index("/", 1) + 1)
    return field if end < 0 else field[:end]


def above(field: str) -> Iterator[str]:
    """Yield the pointers above a field, up to its top-level key."""
    top = len(key_of(field))
    while len(field) > top:
        field = field[: field.rindex("/")]
        yield field


def registers_of(state: SessionState, keys: Collection[str] | None = None) -> Registers:
    """Return the registers of a session: all of them, or those under some top-level keys (as pointers)."""
    first = first_stamp(state)
    held: Registers = {}
    for area, values in ((DATA, state.data), (METADATA, state.metadata)):
        for field, value in leaves(area, _under(area, values, keys)).items():
            held[field] = Register(state.stamps.get(field, first), value)
    for field, stamp in state.stamps.items():
        if field not in held and (keys is None or key_of(field) in keys):
            held[field] = Register(stamp, removed=True)
    return held


def entries_of(state: SessionState, keys: Collection[str] | None = None) -> tuple[Entry, ...]:
    """Return all that a session would tell a linked one: its fields, removed ones too; `keys` as in `registers_of`."""
    return as_entries(registers_of(state, keys))


def as_entries(registers: Mapping[str, Register], base: Stamp | None = None) -> tuple[Entry, ...]:
    """Return registers as entries, in the order of their fields."""
    return tuple(
        Entry(field=field, value=one.value, removed=one.removed, stamp=one.stamp, base=base)
        for field, one in sorted(registers.items())
    )


def written(event: DataSet | MetadataSet) -> tuple[Entry, ...]:
    """Return what an event wrote: its fields, and those that vanished by it. Nothing if it has no stamp."""
    if event.stamp is None:
        return ()
    new, gone = touched(DATA if isinstance(event, DataSet) else METADATA, event.values, event.bases)
    found = {field: Register(event.stamp, value) for field, value in new.items()}
    found |= {field: Register(event.stamp, removed=True) for field in gone}
    return tuple(entry.model_copy(update={"base": event.bases.get(entry.field)}) for entry in as_entries(found))


def touched(
    area: str, values: Mapping[str, JsonValue], bases: Mapping[str, Stamp]
) -> tuple[dict[str, JsonValue], set[str]]:
    """Return the fields that a write sets, and the pointers that lead to nothing any more.

    Its `bases` name every field that it replaced. What was above a vanished field vanishes too, unless something is
    still there: so what is written below it elsewhere, and earlier, does not bring it back.
    """
    new = leaves(area, values)
    gone = {field for field in bases if field not in new}
    if gone:
        standing = {pointer for field in new for pointer in above(field)}
        gone |= {pointer for field in gone for pointer in above(field)} - standing - new.keys()
    return new, gone


def bases_of(
    state: SessionState, area: str, values: Mapping[str, JsonValue], removed: Iterable[str]
) -> dict[str, Stamp]:
    """Return the stamps of the fields that a write replaces or takes away: all under its keys, removed ones too.

    One that was removed long ago and kept its older stamp would be weighed with the key as it is now.
    """
    current = state.data if area == DATA else state.metadata
    keys = {*values, *removed}
    replaced = {key: current[key] for key in keys if key in current}
    if not replaced and not state.stamps:
        return {}
    first = first_stamp(state)
    bases = {field: state.stamps.get(field, first) for field in leaves(area, replaced)}
    pointers = {f"/{area}/{_escaped(key)}" for key in keys}
    return bases | {field: stamp for field, stamp in state.stamps.items() if key_of(field) in pointers}


def first_stamp(state: SessionState) -> Stamp:
    """Return when the fields without a stamp count as written."""
    platform = state.address.platform if state.address else None
    return next_stamp(None, state.created_at or _BEFORE_STAMPS, platform, state.conversation_id)


def with_fields(
    state: SessionState, entries: Iterable[Entry], *, whole: bool
) -> tuple[dict[str, JsonValue], dict[str, JsonValue], dict[str, Stamp]]:
    """Return data, metadata and stamps of a session once it has `entries`.

    `whole`: they are all that there is under their top-level keys. Otherwise the other fields there stay.
    """
    by_key: dict[str, list[Entry]] = {}
    for entry in entries:
        by_key.setdefault(key_of(entry.field), []).append(entry)
    values: dict[str, dict[str, JsonValue]] = {DATA: {**state.data}, METADATA: {**state.metadata}}
    stamps = {field: stamp for field, stamp in state.stamps.items() if not (whole and key_of(field) in by_key)}
    for pointer, changed in by_key.items():
        area, key = keys_of(pointer)
        fields = {} if whole else leaves(area, _under(area, values[area], (pointer,)))
        for entry in changed:
            stamps[entry.field] = entry.stamp
            fields.pop(entry.field, None)
        fields |= {entry.field: entry.value for entry in changed if not entry.removed}
        if fields:
            values[area][key] = _built(fields)
        else:
            values[area].pop(key, None)
    return values[DATA], values[METADATA], stamps


def _built(fields: Mapping[str, JsonValue]) -> JsonValue:
    """Return the value of a top-level key that has these fields, of which none is above another."""
    root: dict[str, JsonValue] = {}
    for field, value in fields.items():
        node: dict[str, Any] = root
        *path, last = keys_of(field)[1:]
        for key in path:
            node = node.setdefault(key, {})
        node[last] = value
    (built,) = root.values()
    return built


def _under(area: str, values: Mapping[str, JsonValue], keys: Collection[str] | None) -> Mapping[str, JsonValue]:
    """Return what of `values` is under some top-level keys."""
    if keys is None:
        return values
    names = [name for there, name in map(keys_of, keys) if there == area]
    return {name: values[name] for name in names if name in values}


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def _unescaped(step: str) -> str:
    return step.replace("~1", "/").replace("~0", "~")
