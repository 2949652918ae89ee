"""Conflicts: writes of a field that did not know of each other. The session keeps its own until somebody chooses."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from enum import Enum, auto
from typing import NamedTuple

from agentbus.contracts.base import same_json
from agentbus.contracts.commands import MergeContext
from agentbus.contracts.session import SessionState
from agentbus.contracts.stamps import Stamp, origin_of
from agentbus.contracts.sync import Conflict, ConflictStrategy, Entry
from agentbus.workers.domain.sync.fields import Register, Registers, above, key_of, registers_of
from agentbus.workers.domain.sync.merging import Seen, changes, is_allowed, is_turned_down, order_of, seen_of, settled

_LATEST = order_of(ConflictStrategy.LATEST_WINS, ())


class Weighed(NamedTuple):
    """What a session takes over without asking, and what somebody has to choose between."""

    applied: tuple[Entry, ...] = ()
    opened: tuple[Conflict, ...] = ()


class _Verdict(Enum):
    """What becomes of a value that a linked session offers."""

    TAKE = auto()
    """Its writer saw what is held, or nothing is."""
    PASS = auto()
    """It is known here already."""
    ASK = auto()
    """Its writer did not see what is held."""


class Found:
    """Registers as they are looked at one after the other: what is below a field is found without reading them all."""

    __slots__ = ("_inner", "registers")

    def __init__(self, registers: Registers) -> None:
        self.registers = registers
        self._inner = {pointer for field in registers for pointer in above(field)}

    def put(self, field: str, register: Register) -> None:
        self.registers[field] = register
        self._inner.update(above(field))

    def around(self, field: str) -> Iterator[tuple[str, Register]]:
        """Yield what is above and below a field."""
        yield from ((pointer, self.registers[pointer]) for pointer in above(field) if pointer in self.registers)
        if field in self._inner:
            yield from ((pointer, one) for pointer, one in self.registers.items() if pointer.startswith(f"{field}/"))


def weigh(state: SessionState, command: MergeContext, now: datetime) -> Weighed:
    """Take over what overwrites nothing that its writer did not see; the rest are conflicts.

    What was removed is looked at first: what stands in its place is not in its way then.
    """
    held = registers_of(state, {key_of(entry.field) for entry in command.entries})
    found = Found(dict(held))
    waiting = {_place(one.offered): one.offered for one in state.conflicts}
    seen = seen_of(state.turned_down)
    opened: dict[tuple[str, str], Conflict] = {}
    for entry in sorted(command.entries, key=lambda entry: (not entry.removed, entry.stamp, entry.field)):
        if not is_allowed(held, entry, command.operations):
            continue
        # Of two writes of one session the later may have come first, and waits as a conflict.
        earlier = waiting.get(_place(entry))
        late = earlier is not None and earlier.stamp >= entry.stamp
        match _judge(seen, found, entry):
            case _Verdict.TAKE:
                taken = earlier if late and earlier else entry
                found.put(taken.field, Register(taken.stamp, None if taken.removed else taken.value, taken.removed))
            case _Verdict.ASK if not late:
                there = held_at(found.registers, entry.field)
                waiting[_place(entry)] = entry
                opened[_place(entry)] = Conflict(held=there, offered=entry, source=command.source, opened_at=now)
            case _:
                pass
    return Weighed(changes(held, settled(found.registers, _LATEST)), tuple(opened.values()))


def with_opened(conflicts: Iterable[Conflict], opened: Sequence[Conflict]) -> tuple[Conflict, ...]:
    """Return open conflicts with those added that were opened: of each field and writer there is one."""
    places = {_place(one.offered) for one in opened}
    return (*(one for one in conflicts if _place(one.offered) not in places), *opened)


def still_open(state: SessionState, entries: Iterable[Entry] = (), *, whole: bool = False) -> tuple[Conflict, ...]:
    """Return the conflicts that are left in a session which has `entries` now, with what it holds.

    One is over if its field, or one above or below it, was written later than what was offered; or if both values have
    become the same. `whole`: what was written is a top-level key as a whole.
    """
    written: dict[str, list[tuple[str, Stamp]]] = {}
    for entry in entries:
        key = key_of(entry.field)
        written.setdefault(key, []).append((key if whole else entry.field, entry.stamp))
    found = registers_of(state, {key_of(one.field) for one in state.conflicts})
    return tuple(
        one.model_copy(update={"held": held_at(found, one.field)})
        for one in state.conflicts
        if not _is_over(one, written.get(key_of(one.field), ())) and not _same(found, one)
    )


def held_at(found: Registers, field: str) -> Entry | None:
    """Return what a session has in a field, or that it was removed; None if it was never there."""
    there = found.get(field)
    return Entry(field=field, value=there.value, removed=there.removed, stamp=there.stamp) if there else None


def overlap(one: str, other: str) -> bool:
    """Whether two fields are the same, or one is above the other."""
    return one == other or one.startswith(f"{other}/") or other.startswith(f"{one}/")


def _judge(seen: Seen, found: Found, entry: Entry) -> _Verdict:
    if is_turned_down(seen, entry.field, entry.stamp):
        return _Verdict.PASS
    there = found.registers.get(entry.field)
    verdict = _against(there, entry) if there else _Verdict.TAKE
    return _beside(found, entry) if verdict is _Verdict.TAKE else verdict


def _against(there: Register, entry: Entry) -> _Verdict:
    if there.stamp == entry.stamp:
        return _Verdict.PASS
    alike = there.removed == entry.removed and (entry.removed or same_json(there.value, entry.value))
    if alike or origin_of(there.stamp) == origin_of(entry.stamp):
        return _Verdict.TAKE if entry.stamp > there.stamp else _Verdict.PASS
    return _Verdict.TAKE if entry.base == there.stamp else _Verdict.ASK


def _beside(found: Found, entry: Entry) -> _Verdict:
    """Judge by what is above and below the field: what `entry` would cover, or be covered by."""
    touched = [one for _, one in found.around(entry.field) if _matters(one, entry)]
    if any(origin_of(one.stamp) != origin_of(entry.stamp) and one.stamp != entry.base for one in touched):
        return _Verdict.ASK
    covered = any(one.stamp > entry.stamp for one in touched)
    return _Verdict.PASS if covered and not entry.removed else _Verdict.TAKE


def _matters(other: Register, entry: Entry) -> bool:
    if entry.removed:
        return not other.removed and other.stamp < entry.stamp
    return not other.removed or other.stamp > entry.stamp


def _place(offered: Entry) -> tuple[str, str]:
    return offered.field, origin_of(offered.stamp)


def _is_over(conflict: Conflict, written: Iterable[tuple[str, Stamp]]) -> bool:
    return any(stamp >= conflict.offered.stamp and overlap(field, conflict.field) for field, stamp in written)


def _same(found: Registers, conflict: Conflict) -> bool:
    there, offered = found.get(conflict.field), conflict.offered
    if there is None or there.removed or offered.removed:
        return False
    return same_json(there.value, offered.value)
