"""The keys of the HTTP API: made, listed, revoked, recognised. What is kept of one does not give its secret away."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from hmac import compare_digest
from secrets import choice
from typing import Final

from pydantic import Field

from agentbus.contracts.base import Announced, Many, Name, Timestamp
from agentbus.contracts.clock import Clock
from agentbus.contracts.errors import AgentBusError, SchemaViolation
from agentbus.contracts.history import Page
from agentbus.contracts.records import Record, RecordKind
from agentbus.operations.paging import page_after
from agentbus.sessions.model.validation import checking
from agentbus.storage.damage import SET_ANEW, read_as, readable, unless_damaged
from agentbus.storage.port import Store
from agentbus.workers.concurrency import side_by_side

_GROUP: Final = "api_keys"
_USES: Final = "api_key_uses"
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz234567"
_ID_LENGTH: Final = 10
_SECRET_LENGTH: Final = 52
"""Of letters of five bits each: 260 bits, which nobody guesses."""
_FORM: Final = re.compile(rf"ab_([a-z2-7]{{{_ID_LENGTH}}})_([a-z2-7]{{{_SECRET_LENGTH}}})")

USE_SECONDS: Final = 60.0
"""Seconds in which the use of a key is noted once, of all processes together."""

LONGEST: Final = 100 * 365 * 86_400.0
"""Seconds after which a key may expire at the latest."""


class Role(StrEnum):
    """What a key of the HTTP API is for. None includes another: a key has each that it was made with."""

    PUBLISH = "publish"
    """It publishes chat messages."""
    READ = "read"
    """It reads: sessions, what is parked, who is at work."""
    OPERATE = "operate"
    """It changes sessions, and decides about what waits for somebody: parked inputs, replies, conflicts, rules."""
    ADMIN = "admin"
    """It takes away for good, and looks after the installation: deletion, erasure, backups."""


class ApiKeyNotFound(AgentBusError):
    """There is no such key of the HTTP API."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key, without its secret."""

    key_id: str
    name: str
    """What it is for, in words of whoever made it."""
    roles: Sequence[Role]
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None
    """When it was used last, to the minute; it is told by `list_keys` alone."""

    def holds(self, now: datetime) -> bool:
        """Whether it may be used at a moment."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


class _Kept(Announced):
    """What is kept of a key."""

    name: Name
    roles: Many[str] = Field(description="A later release may know more; these are passed over.")
    digest: str = Field(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the secret, in hexadecimal.")
    expires_at: Timestamp | None = None
    revoked_at: Timestamp | None = None


async def create_key(
    store: Store, clock: Clock, name: str, roles: Collection[Role], *, expires_in: float | None = None
) -> tuple[ApiKey, str]:
    """Make a key, for ever or for `expires_in` seconds; return it, and its text, which is kept nowhere.

    Raises SchemaViolation for a name that can't be, no role, or a time outside 1 s to `LONGEST`; StoreError.
    """
    if not roles:
        raise SchemaViolation(f"a key needs a role: {', '.join(Role)}")
    if expires_in is not None and not 1 <= expires_in <= LONGEST:
        raise SchemaViolation(f"a key expires after 1 to {LONGEST:g} seconds, not {expires_in:g}")
    now = clock.now()
    key_id, secret = _letters(_ID_LENGTH), _letters(_SECRET_LENGTH)
    with checking("there can't be such a key"):
        kept = _Kept(
            name=name,
            roles=tuple(role.value for role in Role if role in roles),
            digest=_digest(secret),
            expires_at=now + timedelta(seconds=expires_in) if expires_in is not None else None,
        )
    record = _record(key_id, kept, now)
    await store.records.put(record, replace=False)
    return _read(record)[0], f"ab_{key_id}_{secret}"


async def list_keys(store: Store, *, limit: int = 50, cursor: str | None = None) -> Page[ApiKey]:
    """Return a page of all keys, the latest first; revoked and expired ones stay in the list.

    One that can't be read is told and passed over. Raises InvalidCursor, StoreError.
    """
    with page_after(cursor):
        page = await store.records.page(RecordKind.API_KEY, _GROUP, limit=limit, cursor=cursor)
    keys = [key for key, _ in readable(page.items, _read)]
    uses = await side_by_side(store.records.get(RecordKind.API_KEY, _use_of(key.key_id)) for key in keys)
    found = [replace(key, last_used_at=use.created_at) if use else key for key, use in zip(keys, uses, strict=True)]
    return Page[ApiKey].model_construct(items=tuple(found), cursor=page.cursor)


async def revoke_key(store: Store, clock: Clock, key_id: str) -> ApiKey:
    """Let a key be good no more, some seconds from now at the latest. Idempotent. Raises ApiKeyNotFound, StoreError."""
    record = await store.records.get(RecordKind.API_KEY, key_id) if _is_key_id(key_id) else None
    if record is None:
        raise ApiKeyNotFound(f"there is no key {key_id!r}; see: agentbus api-keys list")
    kept = read_as(f"key {key_id}", _Kept.model_validate, record.data, SET_ANEW)
    if kept.revoked_at is None:
        record = _record(key_id, kept.model_copy(update={"revoked_at": clock.now()}), record.created_at)
        await store.records.put(record)
    return _read(record)[0]


async def note_use(store: Store, clock: Clock, key_id: str) -> None:
    """Note that a key is used, unless that was noted within the last minute. Raises StoreError.

    It is a record of its own: one that is written again and again must not bring a revoked key back.
    """
    now = clock.now()
    known = await store.records.get(RecordKind.API_KEY, _use_of(key_id))
    if known is None or now - known.created_at >= timedelta(seconds=USE_SECONDS):
        noted = Record(kind=RecordKind.API_KEY, key=_use_of(key_id), group=_USES, created_at=now, data={})
        await store.records.put(noted)


async def any_key(store: Store) -> bool:
    """Whether a key was ever made. Raises StoreError."""
    return bool((await store.records.page(RecordKind.API_KEY, _GROUP, limit=1)).items)


async def get_key(store: Store, key_id: str) -> ApiKey | None:
    """Return a key by the part of it that is no secret; None if there is none, or a damaged one. Raises StoreError."""
    record = await store.records.get(RecordKind.API_KEY, key_id) if _is_key_id(key_id) else None
    kept = unless_damaged(record, _read) if record else None
    return kept[0] if kept else None


def key_id_in(text: str) -> str | None:
    """Return the part of a key's text that is no secret; None for what has not the form of a key."""
    found = _FORM.fullmatch(text)
    return found[1] if found else None


def without_keys(text: str) -> str:
    """Return a text with the secrets of the keys in it masked."""
    return _FORM.sub(r"ab_\1_***", text)


async def recognised(store: Store, text: str) -> ApiKey | None:
    """Return the key that a text is, revoked or expired ones too; None if it is none. Raises StoreError."""
    found = _FORM.fullmatch(text)
    record = await store.records.get(RecordKind.API_KEY, found[1]) if found else None
    kept = unless_damaged(record, _read) if record else None
    if found is None or kept is None:
        return None
    key, digest = kept
    # The secret is as good as random: a digest without salt and without delay is as hard to turn back as it is long.
    return key if compare_digest(digest, _digest(found[2])) else None


def _letters(count: int) -> str:
    return "".join(choice(_LETTERS) for _ in range(count))


def _digest(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()


def _use_of(key_id: str) -> str:
    return f"{key_id}.used"


def _is_key_id(text: str) -> bool:
    return re.fullmatch(rf"[a-z2-7]{{{_ID_LENGTH}}}", text) is not None


def _record(key_id: str, kept: _Kept, created_at: datetime) -> Record:
    data = kept.model_dump(mode="json", exclude_none=True)
    return Record(kind=RecordKind.API_KEY, key=key_id, group=_GROUP, created_at=created_at, data=data)


def _read(record: Record) -> tuple[ApiKey, str]:
    """Return a key and the digest of its secret. Raises StoreDamaged."""
    kept = read_as(f"key {record.key}", _Kept.model_validate, record.data, SET_ANEW)
    key = ApiKey(
        key_id=record.key,
        name=kept.name,
        roles=tuple(role for role in Role if role in kept.roles),
        created_at=record.created_at,
        expires_at=kept.expires_at,
        revoked_at=kept.revoked_at,
    )
    return key, kept.digest
