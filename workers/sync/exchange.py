"""What linked sessions share, by their policy, and which commands carry it."""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import groupby
from typing import Final

from agentbus.contracts.commands import MergeContext
from agentbus.contracts.envelope import Input
from agentbus.contracts.ids import InputId, SessionId, digest_of
from agentbus.contracts.messages import SessionMessage
from agentbus.contracts.secrets import SECRET_KEYS, without_secrets
from agentbus.contracts.session import SessionState
from agentbus.contracts.sync import ConflictStrategy, Entry, SyncOperation, SyncPolicy
from agentbus.workers.domain.sync.fields import DATA, key_of, keys_of
from agentbus.workers.domain.sync.merging import WHOLE_KEYS, Order, order_of

MOST_ENTRIES: Final = 5000
"""How many fields one command carries, unless a single key has more."""

_WHOLE: Final = frozenset({SyncOperation.MERGE})

_LIMIT: Final = 10_000
"""How many fields the contract lets one command carry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """Something that a session passes on."""

    cause: str
    """What it comes from; the same again gives commands of the same ids, which are carried out once.

    A context that has changed since is not the same again, though it comes from the same.
    """
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


def merges(parcel: Parcel, policy: SyncPolicy, targets: Iterable[SessionState]) -> list[Input]:
    """Return the commands that bring `parcel` into each of `targets`; none if there is nothing in it."""
    strategy = parcel.strategy or policy.strategy
    parts = list(_parts(_as_wholes(parcel, order_of(strategy, policy.priority)) if strategy in WHOLE_KEYS else parcel))
    operations = policy.operations & _WHOLE if parcel.whole else policy.operations - _WHOLE
    marks = [(str(number), *_mark(entries)) for number, (entries, _) in enumerate(parts)]
    return [
        Input(
            InputId(digest_of(("sync", parcel.cause, parcel.source, target.session_id, *mark))),
            MergeContext(
                session_id=target.session_id,
                identity=parcel.identity,
                source=parcel.source,
                strategy=strategy,
                priority=policy.priority,
                operations=operations,
                entries=entries,
                messages=messages,
            ),
        )
        for target in targets
        for mark, (entries, messages) in zip(marks, parts, strict=True)
    ]


def _as_wholes(parcel: Parcel, order: Order) -> Parcel:
    """Return a parcel in which keys that no single command can carry have one stamp each: the one that decides.

    Where keys are chosen as wholes, a part of one with lower stamps would be outranked by the part before it.
    """
    groups = [tuple(group) for _, group in groupby(sorted(parcel.entries, key=_place), key=_key)]
    if all(len(group) <= _LIMIT for group in groups):
        return parcel
    entries: list[Entry] = []
    for group in groups:
        highest = max((entry.stamp for entry in group), key=order)
        one = {"stamp": highest}
        entries += (entry.model_copy(update=one) for entry in group) if len(group) > _LIMIT else group
    return replace(parcel, entries=tuple(entries))


def _parts(parcel: Parcel) -> Iterator[tuple[tuple[Entry, ...], tuple[SessionMessage, ...]]]:
    """Yield what goes into each command; a top-level key's fields go together, as they may be judged together."""
    part: tuple[Entry, ...] = ()
    for _, fields in groupby(sorted(parcel.entries, key=_place), key=_key):
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


def _mark(entries: Sequence[Entry]) -> tuple[str, ...]:
    """Return what tells these writes from others to the same fields; nothing for messages, which are written once."""
    return (digest_of(part for entry in entries for part in (entry.field, entry.stamp)),) if entries else ()


def _key(entry: Entry) -> str:
    return key_of(entry.field)


def _place(entry: Entry) -> tuple[str, str]:
    return key_of(entry.field), entry.field


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in pattern.split("*")), re.DOTALL)
