"""What was changed in a copy of something: found by comparing, and carried over to what it has become meanwhile."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeGuard

from agentbus.contracts.changes import FieldChanges
from agentbus.sessions.model.validation import checking
from agentbus.workers.domain.commands.editing import retagged


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether a value is a number, as JSON understands it."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def same(one: object, other: object) -> bool:
    """Whether two values are the same in JSON."""
    # Python takes 1, 1.0 and True for the same, JSON does not: they differ in how they are written.
    return one == other and repr(one) == repr(other)


def differing(read: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the keys that were set since `read`."""
    return [key for key, value in now.items() if key not in read or not same(read[key], value)]


def touched(read: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the keys that were set or taken out since `read`."""
    return [*differing(read, now), *sorted(read.keys() - now.keys())]


def carried(saved: Mapping[str, Any], of: Mapping[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    """Return `saved`, with some keys as they are in `of`: set to the same, or not there either."""
    values = dict(saved)
    for key in keys:
        values.pop(key, None)
        if key in of:
            values[key] = of[key]
    return values


def refresh(target: dict[str, Any], wanted: Mapping[str, Any]) -> None:
    """Make a dict hold what is wanted, leaving in place what it holds already: somebody may be at work on it."""
    for key in target.keys() - wanted.keys():
        del target[key]
    target.update((key, wanted[key]) for key in differing(target, wanted))


def tag_changes(read: Sequence[str], now: Sequence[str]) -> dict[str, Any]:
    """Return the changes to a profile that make tags what they are now.

    Tags that are added and taken out are told as that, so that nobody's get lost; another order is a change of all.
    """
    added = tuple(tag for tag in dict.fromkeys(now) if tag not in read)
    removed = tuple(tag for tag in dict.fromkeys(read) if tag not in now)
    if retagged(read, added, removed) != tuple(dict.fromkeys(now)):
        return {"tags": tuple(now)}
    return {name: tags for name, tags in (("add_tags", added), ("remove_tags", removed)) if tags}


def repeated_tags(read: Sequence[str], now: Sequence[str], latest: Sequence[str]) -> list[str]:
    """Return `latest` with what was done to the tags since `read` done once more."""
    changes = tag_changes(read, now)
    return list(retagged(changes.get("tags", latest), changes.get("add_tags", ()), changes.get("remove_tags", ())))


def field_changes(
    what: str,
    read: dict[str, Any],
    now: dict[str, Any],
    *,
    overwrite: bool,
    added: dict[str, int | float] | None = None,
) -> FieldChanges:
    """Return what makes data or metadata what it is now; `added` are the numbers that were only added to.

    Raises SchemaViolation for what can't be kept.
    """
    added = added or {}
    values = {key: now[key] for key in differing(read, now) if key not in added}
    removed = tuple(sorted(read.keys() - now.keys()))
    if not (values or removed or added):
        return FieldChanges()
    keys = [*values, *removed]
    with checking(f"the session's {what} can't be saved"):
        return FieldChanges(
            values=values,
            remove=removed,
            expected={} if overwrite else {key: read[key] for key in keys if key in read},
            absent=() if overwrite else tuple(key for key in keys if key not in read),
            increments=added or None,
        )
