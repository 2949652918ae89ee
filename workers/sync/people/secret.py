"""The secret that claim codes are signed with and contacts are digested by."""

import hashlib
import hmac
import secrets
from typing import Final

from agentbus.contracts.clock import Clock
from agentbus.contracts.ids import digest_of
from agentbus.contracts.records import Record, RecordKind
from agentbus.storage.port import Store

_KEY: Final = "secret"  # no code has this number: their letters are capitals
_BYTES: Final = 32


class Secret:
    """The deployment's secret: the one that was set, or one that is made up once and kept in the store.

    All processes on one store come to the same. Whoever can read the store can read a kept one: set it where the
    store is not as safe as the workers are.
    """

    def __init__(self, store: Store, clock: Clock, given: str | None = None) -> None:
        self._store = store
        self._clock = clock
        self._value = given.encode() if given else None

    async def value(self) -> bytes:
        """Return the secret."""
        if self._value is None:
            data = {"secret": secrets.token_hex(_BYTES)}
            record = Record(
                kind=RecordKind.CLAIM_CODE, key=_KEY, group=_KEY, created_at=self._clock.now(), data={**data}
            )
            kept = await self._store.records.get(RecordKind.CLAIM_CODE, _KEY)
            if kept is None and not await self._store.records.put(record, replace=False):
                kept = await self._store.records.get(RecordKind.CLAIM_CODE, _KEY)
            self._value = str((kept or record).data["secret"]).encode()
        return self._value

    async def digest(self, *parts: str) -> str:
        """Return a keyed digest of `parts`: without the secret nobody can tell what it is of, nor try and compare."""
        keyed = hmac.new(await self.value(), digest_of(parts).encode(), hashlib.sha256)
        return keyed.hexdigest()
