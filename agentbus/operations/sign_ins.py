"""People at the dashboard: a key of the HTTP API is exchanged for a token that a browser keeps for a working day."""

from datetime import timedelta
from hashlib import sha256
from secrets import token_urlsafe
from typing import Final

from agentbus.contracts.clock import Clock
from agentbus.contracts.records import Record, RecordKind
from agentbus.operations.api_keys import ApiKey, get_key, note_use, recognised
from agentbus.storage.port import Store

LASTS: Final = timedelta(hours=8)
"""How long somebody stays signed in, whatever they do."""

_GROUP: Final = "sign_ins"
_KEY: Final = "key_id"
_MOST_DROPPED: Final = 100


async def sign_in(store: Store, clock: Clock, key: str) -> tuple[str, ApiKey] | None:
    """Return a new token for a key that may be used, and whose it is; None for any other text. Raises StoreError.

    A digest of the token is kept: what is in the store signs nobody in.
    """
    known, now = await recognised(store, key), clock.now()
    if known is None or not known.holds(now):
        return None
    for old in await store.records.due(RecordKind.SIGN_IN, now, limit=_MOST_DROPPED):
        await store.records.delete(RecordKind.SIGN_IN, old.key)
    token = token_urlsafe(32)
    record = Record(
        kind=RecordKind.SIGN_IN,
        key=_digest(token),
        group=_GROUP,
        created_at=now,
        data={_KEY: known.key_id},
        due_at=now + LASTS,
    )
    await store.records.put(record)
    await note_use(store, clock, known.key_id)
    return token, known


async def signed_in(store: Store, clock: Clock, token: str) -> ApiKey | None:
    """Return the key that a token was given out for; None if either is good no more. Raises StoreError."""
    record = await store.records.get(RecordKind.SIGN_IN, _digest(token))
    now = clock.now()
    if record is None or record.due_at is None or record.due_at <= now:
        return None
    key = await get_key(store, str(record.data.get(_KEY)))
    return key if key is not None and key.holds(now) else None


async def sign_out(store: Store, token: str) -> None:
    """Let a token be good no more. Idempotent. Raises StoreError."""
    await store.records.delete(RecordKind.SIGN_IN, _digest(token))


def _digest(token: str) -> str:
    # A token is random: its digest needs no salt.
    return sha256(token.encode()).hexdigest()
