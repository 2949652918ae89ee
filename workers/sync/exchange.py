"""What linked sessions share, by their policy, and which commands carry it."""

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import Final

from contracts.commands import MergeContext
from contracts.ids import SessionId, digest_of
from contracts.messages import SessionMessage
from contracts.secrets import SECRET_KEYS, without_secrets
from contracts.session import SessionState
from contracts.sync import ConflictStrategy, Entry, SyncOperation, SyncPolicy
from workers.domain.sync.fields import DATA, key_of, keys_of
from workers.reactive.commands import Given

MOST_ENTRIES: Final = 5000
"""How many fields one command carries, unless a single key has more."""

_WHOLE: Final = frozenset({SyncOperation.MERGE})

_LIMIT: Final = 10_000
"""How many fields the contract lets one command carry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """Something that a session passes on."""

    cause: str
    """What it comes from; the same again gives commands of the same ids, which are carried out once."""
    identity: str
    source: SessionId
    entries: tuple[Entry, ...] = ()
    messages: tuple[SessionMessage, ...] = ()
    strategy: ConflictStrategy | None = None
    """In place of the policy's."""
    whole: bool = False
    """Two contexts are brought together, which may create, update and delete alike."""


def shared(
    policy: SyncPolicy, entries: Iterable[Entry], secret_keys: Collection[str] = SECRET_KEYS
) -> tuple[Entry, ...]:
    """Return those of `entries` that the policy shares; lists in them come without their secrets."""
    return tuple(
        entry.model_copy(update=without_secrets({"value": entry.value}, secret_keys))
        for entry in entries
        if shares(policy, entry.field, secret_keys)
    )


def shares(policy: SyncPolicy, field: str, secret_keys: Collection[str] = SECRET_KEYS) -> bool:
    """Whether a field, as a JSON pointer, is shared: its top-level key is one of the policy's, no key a secret's."""
    area, *keys = keys_of(field)
    patterns = policy.data if area == DATA else policy.metadata
    steps = dict.fromkeys(keys)
    return any(matches(pattern, keys[0]) for pattern in patterns) and steps == without_secrets(steps, secret_keys)


def matches(pattern: str, key: str) -> bool:
    """Whether `key` is what `pattern` says, in which `*` stands for any text."""
    return _compiled(pattern).fullmatch(key) is not None


def merges(parcel: Parcel, policy: SyncPolicy, targets: Iterable[SessionState]) -> list[Given]:
    """Return the commands that bring `parcel` into each of `targets`; none if there is nothing in it."""
    parts = list(_parts(parcel))
    operations = policy.operations & _WHOLE if parcel.whole else policy.operations - _WHOLE
    return [
        Given(
            MergeContext(
                session_id=target.session_id,
                identity=parcel.identity,
                source=parcel.source,
                strategy=parcel.strategy or policy.strategy,
                priority=policy.priority,
                operations=operations,
                entries=entries,
                messages=messages,
            ),
            digest_of(("sync", parcel.cause, parcel.source, target.session_id, str(number))),
        )
        for target in targets
        for number, (entries, messages) in enumerate(parts)
    ]


def _parts(parcel: Parcel) -> Iterator[tuple[tuple[Entry, ...], tuple[SessionMessage, ...]]]:
    """Yield what goes into each command; a top-level key's fields go together, as they may be judged together."""
    part: tuple[Entry, ...] = ()
    for _, fields in groupby(sorted(parcel.entries, key=_place), key=lambda entry: key_of(entry.field)):
        group = tuple(fields)
        if part and len(part) + len(group) > MOST_ENTRIES:
            yield part, ()
            part = ()
        part += group
        while len(part) > _LIMIT:
            yield part[:_LIMIT], ()
            part = part[_LIMIT:]
    if part or parcel.messages:
        yield part, parcel.messages


def _place(entry: Entry) -> tuple[str, str]:
    return key_of(entry.field), entry.field


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in pattern.split("*")), re.DOTALL)
