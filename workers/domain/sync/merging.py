"""Merging: the highest of a total order stays. So neither the order nor the repetition of what comes in matters."""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple

from agentbus.contracts.address import Platform
from agentbus.contracts.ids import ConversationId
from agentbus.contracts.session import SessionState
from agentbus.contracts.stamps import Stamp, origin_of, platform_of
from agentbus.contracts.sync import ConflictStrategy, Entry, SyncOperation, TurnedDown
from agentbus.workers.domain.sync.fields import Register, Registers, above, as_entries, entries_of, key_of

Order = Callable[[Stamp], Any]
"""What stamps are compared by."""

Seen = dict[tuple[str, ConversationId], Stamp]
"""What a session did not take, by field and writer."""


class Told(NamedTuple):
    """Whom an answer is for, and what was answered before."""

    source: ConversationId
    seen: Seen


WHOLE_KEYS = frozenset({ConflictStrategy.LATEST_WINS, ConflictStrategy.SOURCE_PRIORITY})
"""Strategies that choose between top-level keys with all that is in them."""


class Merged(NamedTuple):
    """What a session takes over, and what it keeps against the source."""

    applied: tuple[Entry, ...] = ()
    kept: tuple[Entry, ...] = ()


def order_of(strategy: ConflictStrategy, priority: Iterable[Platform]) -> Order:
    """Return what a strategy compares stamps by: the moment, or the platform's place first."""
    if strategy is not ConflictStrategy.SOURCE_PRIORITY:
        return _moment
    places = {str(platform): place for place, platform in enumerate(priority)}
    last = len(places)
    return lambda stamp: (-places.get(platform_of(stamp), last), stamp)


def _moment(stamp: Stamp) -> str:
    return stamp


def passed_on(state: SessionState, strategy: ConflictStrategy, *, own: bool = False) -> tuple[Entry, ...]:
    """Return all that a session would tell a linked one; with `own` those keys alone in which it wrote something.

    With `source_priority` a session may write over what outranks it, and be told so by who still has that. Where
    another's value has come in place of its own by then, that may not have been told to anybody: its stamp goes along,
    as the `base`, so that it is answered all the same.
    """
    here = state.conversation_id
    entries = entries_of(state)
    if strategy is ConflictStrategy.SOURCE_PRIORITY:
        seen = seen_of(state.turned_down)
        entries = tuple(one.model_copy(update={"base": seen.get((key_of(one.field), here))}) for one in entries)
    if not own:
        return entries
    wrote = {key_of(one.field) for one in entries if _own_stamps(one, here)}
    return tuple(one for one in entries if key_of(one.field) in wrote)


def merge_keys(
    held: Registers,
    offered: Collection[Entry],
    order: Order,
    operations: Collection[SyncOperation],
    told: Told | None,
) -> Merged:
    """Choose key by key, each as a whole: by the highest of its fields' stamps.

    What is kept against the source is told once: `told` says what was. Without that, nothing is.
    """
    applied: list[Entry] = []
    kept: list[Entry] = []
    theirs = _by_key(registers(offered, order))
    ours = _by_key(held)
    answered = _answered(offered, told.source) if told else {}
    for key, group in sorted(theirs.items()):
        mine = ours.get(key, {})
        if not _permitted(_operation_on_key(mine, group), operations):
            continue
        high, low = _highest(group, order), _highest(mine, order)
        if low is None or high is None or high >= low:
            result = group if high != low else settled(joined(mine, group, order), order)
            if _differ(mine, result):
                applied += as_entries(result)
        elif told is not None:
            kept += _answer(key, mine, answered[key], told.seen)
    return Merged(tuple(applied), tuple(kept))


def merge_fields(
    held: Registers, offered: Iterable[Entry], order: Order, operations: Collection[SyncOperation]
) -> Merged:
    """Choose field by field: each side's fields stay, and of those that both have the later one."""
    allowed = [entry for entry in offered if is_allowed(held, entry, operations)]
    return Merged(changes(held, settled(joined(held, registers(allowed, order), order), order)))


def registers(entries: Iterable[Entry], order: Order) -> Registers:
    """Return entries as registers; of two for one field the higher."""
    found: Registers = {}
    for entry in entries:
        one = Register(entry.stamp, None if entry.removed else entry.value, entry.removed)
        found = joined_one(found, entry.field, one, order)
    return settled(found, order)


def joined_one(into: Registers, field: str, one: Register, order: Order) -> Registers:
    """Put a register into others, unless theirs is as high; return them.

    Of two of one write, one has no value where it was covered, maybe by another order than today's: the value stands,
    until `settled` covers it again.
    """
    there = into.get(field)
    uncovered = there is not None and there.stamp == one.stamp and there.removed and not one.removed
    if there is None or uncovered or order(one.stamp) > order(there.stamp):
        into[field] = one
    return into


def joined(held: Registers, offered: Mapping[str, Register], order: Order) -> Registers:
    """Return the higher register of each field."""
    result = dict(held)
    for field, one in offered.items():
        joined_one(result, field, one, order)
    return result


def settled(found: Registers, order: Order) -> Registers:
    """Return registers without the values of those that are covered: by a higher one above or below them.

    Stamps only rise, so what is covered once stays so until it is written anew, and its value is not needed. What is
    covered from above was removed by that write, and has its stamp: a key whose values are all of a later writer is not
    taken for the earlier one's, should another strategy come to ask.
    """
    result = dict(found)
    for field, one in found.items():
        for pointer in above(field):
            other = found.get(pointer)
            if other is None:
                continue
            mine, theirs = order(one.stamp), order(other.stamp)
            if mine < theirs:
                covering = Register(max(result[field].stamp, other.stamp, key=order), removed=True)
                result[field] = covering
            elif mine > theirs or not one.removed:
                result[pointer] = result[pointer]._replace(value=None, removed=True)
    return result


def changes(held: Registers, result: Registers) -> tuple[Entry, ...]:
    """Return what of `result` is not so in `held`, as entries."""
    return as_entries({field: one for field, one in result.items() if _is_other(held.get(field), one)})


def is_allowed(held: Registers, entry: Entry, operations: Collection[SyncOperation]) -> bool:
    """Whether `operations` let `entry` do what it does to a session that holds these registers."""
    there = held.get(entry.field)
    absent = there is None or there.removed
    changed = SyncOperation.CREATE if absent else SyncOperation.UPDATE
    return _permitted(SyncOperation.DELETE if entry.removed else changed, operations)


def _operation_on_key(mine: Registers, theirs: Registers) -> SyncOperation:
    if all(one.removed for one in theirs.values()):
        return SyncOperation.DELETE
    return SyncOperation.CREATE if all(one.removed for one in mine.values()) else SyncOperation.UPDATE


def _permitted(operation: SyncOperation, operations: Collection[SyncOperation]) -> bool:
    """Bringing whole contexts together may do all of it."""
    return operation in operations or SyncOperation.MERGE in operations


def _by_key(found: Registers) -> dict[str, Registers]:
    groups: dict[str, Registers] = {}
    for field, one in found.items():
        groups.setdefault(key_of(field), {})[field] = one
    return groups


def _highest(group: Registers, order: Order) -> Any:
    return max((order(one.stamp) for one in group.values()), default=None)


def _answered(offered: Iterable[Entry], source: ConversationId) -> dict[str, Stamp]:
    """Return, by key, the write that is answered if what is offered is outranked.

    It is the source's own latest, also where it passes on what came in the place of that.
    """
    found: dict[str, tuple[bool, Stamp]] = {}
    for entry in offered:
        own = _own_stamps(entry, source)
        one = (bool(own), max(own, default=entry.stamp))
        key = key_of(entry.field)
        found[key] = max(one, found.get(key, one))
    return {key: stamp for key, (_, stamp) in found.items()}


def _answer(key: str, mine: Registers, write: Stamp, seen: Seen) -> tuple[Entry, ...]:
    """Return what is held, for the source of a write; nothing if it was told, or has written later itself."""
    same = origin_of(write) == origin_of(max(one.stamp for one in mine.values()))
    return () if same or is_turned_down(seen, key, write) else as_entries(mine, write)


def _own_stamps(entry: Entry, conversation: ConversationId) -> list[Stamp]:
    """Return the stamps of a conversation's own writes that an entry has: its own, and its base."""
    return [stamp for stamp in (entry.stamp, entry.base) if stamp is not None and origin_of(stamp) == conversation]


def seen_of(turned_down: Iterable[TurnedDown]) -> Seen:
    """Return the latest of the values that were turned down, by field and writer."""
    latest: Seen = {}
    for one in turned_down:
        place = (one.field, origin_of(one.stamp))
        if place not in latest or latest[place] < one.stamp:
            latest[place] = one.stamp
    return latest


def is_turned_down(seen: Seen, field: str, stamp: Stamp) -> bool:
    """Whether a session did not take this value before, or a later one of the same writer."""
    return seen.get((field, origin_of(stamp)), "") >= stamp


def _differ(held: Registers, result: Registers) -> bool:
    return held.keys() != result.keys() or any(_is_other(held[field], one) for field, one in result.items())


def _is_other(held: Register | None, one: Register) -> bool:
    return held is None or (held.stamp, held.removed) != (one.stamp, one.removed)
