"""Changes to a session's data, metadata and profile: whether they apply, and what they come to."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydantic import JsonValue

from agentbus.contracts.base import same_json
from agentbus.contracts.changes import FieldChanges
from agentbus.contracts.errors import EditConflict
from agentbus.contracts.profile import Permission, Profile, ProfileChanges, Visibility
from agentbus.contracts.session import SessionStatus
from agentbus.workers.domain.checks.limits import check_shares, check_size, check_tags
from agentbus.workers.domain.evolve import merged

_MISSING: Final = object()
_SET: Final = frozenset(Profile.model_fields) & frozenset(ProfileChanges.model_fields)
"""The fields of a profile that changes may set."""
_UNTOUCHED: Final = {SessionStatus.IDLE: SessionStatus.ACTIVE}


def changed_fields(
    what: str, current: Mapping[str, JsonValue], changes: FieldChanges
) -> tuple[dict[str, JsonValue], tuple[str, ...]]:
    """Return the keys that `changes` sets with their values, and those that it takes out.

    Raises EditConflict if a key has another value than the caller saw, or something is to be added to what is no
    number; LimitExceeded if it would grow too large.
    """
    wanted = {**_increased(what, current, changes.increments or {}), **changes.values}
    other = [key for key, value in changes.expected.items() if not same_json(current.get(key, _MISSING), value)]
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
    """Return `profile` as `changes` leave it.

    Raises EditConflict if a field that they set or clear is not what the caller saw; LimitExceeded for too many tags.
    """
    given: dict[str, Any] = {name: getattr(changes, name) for name in changes.model_fields_set & _SET}
    update = {name: value for name, value in given.items() if value is not None} | dict.fromkeys(changes.clear)
    if changes.seen is not None:
        _check_seen(profile, changes.seen, update)
    if changes.add_tags or changes.remove_tags:
        tags = retagged(update.get("tags", profile.tags), changes.add_tags or (), changes.remove_tags or ())
        check_tags(tags)
        update["tags"] = tags
    return profile.model_copy(update=update)


def retagged(tags: Iterable[str], added: Iterable[str], removed: Iterable[str]) -> tuple[str, ...]:
    """Return `tags` without those of `removed`, and with those of `added` that are not there yet."""
    return tuple(dict.fromkeys((*(tag for tag in tags if tag not in removed), *added)))


def check_status(status: SessionStatus, seen: SessionStatus | None) -> None:
    """Raise EditConflict if a session's status is not what the caller saw; time alone makes one idle, and back."""
    if seen is not None and _UNTOUCHED.get(seen, seen) is not _UNTOUCHED.get(status, status):
        raise EditConflict(f"the session's status was changed meanwhile: it is {status}, no longer {seen}")


def _check_seen(profile: Profile, seen: Profile, wanted: Iterable[str]) -> None:
    other = sorted(name for name in wanted if getattr(profile, name) != getattr(seen, name))
    if other:
        raise EditConflict(
            f"the session was changed meanwhile: {', '.join(other)}; read the session again, then decide"
        )


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
