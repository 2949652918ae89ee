"""Changes to a session's data, metadata and profile: whether they apply, and what they come to."""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import JsonValue

from contracts.changes import FieldChanges
from contracts.errors import EditConflict
from contracts.profile import Permission, Profile, ProfileChanges, Visibility
from workers.domain.checks.limits import check_shares, check_size
from workers.domain.evolve import merged

_MISSING: Final = object()


def changed_fields(
    what: str, current: Mapping[str, JsonValue], changes: FieldChanges
) -> tuple[dict[str, JsonValue], tuple[str, ...]]:
    """Return the keys that `changes` sets with their values, and those that it takes out.

    Raises EditConflict if a key has another value than the caller saw, or something is to be added to what is no
    number; LimitExceeded if it would grow too large.
    """
    wanted = {**_increased(what, current, changes.increments or {}), **changes.values}
    other = [key for key, value in changes.expected.items() if current.get(key, _MISSING) != value]
    other += [key for key in changes.absent if key in current]
    if other:
        keys = ", ".join(sorted(other))
        raise EditConflict(f"the session's {what} was changed meanwhile: {keys}; read the session again, then decide")
    removed = set(changes.remove) | (current.keys() - wanted.keys() if changes.replace else set())
    values = {key: value for key, value in wanted.items() if key not in changes.remove}
    gone = tuple(sorted(removed & current.keys()))
    check_size(what, merged(current, values, gone))
    return values, gone


def _increased(what: str, current: Mapping[str, JsonValue], by: Mapping[str, int | float]) -> dict[str, JsonValue]:
    values: dict[str, JsonValue] = {}
    for key, added in by.items():
        held = current.get(key, 0)
        if isinstance(held, bool) or not isinstance(held, int | float):
            raise EditConflict(f"the session's {what} has no number to add to: {key}")
        values[key] = held + added
    return values


def changed_profile(profile: Profile, changes: ProfileChanges) -> Profile:
    """Return `profile` as `changes` leave it."""
    given: dict[str, Any] = {name: getattr(changes, name) for name in changes.model_fields_set - {"clear"}}
    update = {name: value for name, value in given.items() if value is not None}
    return profile.model_copy(update=update | dict.fromkeys(changes.clear))


def differing(before: Profile, after: Profile) -> tuple[str, ...]:
    """Return the names of a profile's fields that are not as they were."""
    return tuple(name for name in Profile.model_fields if getattr(before, name) != getattr(after, name))


def shared_profile(profile: Profile, user: str, permission: Permission | None) -> Profile:
    """Return `profile` shared with `user`, or no longer. Raises LimitExceeded for more users than there may be."""
    others = {name: kept for name, kept in profile.shares.items() if name != user}
    shares = others | ({user: permission} if permission else {})
    check_shares(shares)
    visibility = profile.visibility
    if visibility is not Visibility.PUBLIC:
        visibility = Visibility.SHARED if shares else Visibility.PRIVATE
    return profile.model_copy(update={"shares": shares, "visibility": visibility})
