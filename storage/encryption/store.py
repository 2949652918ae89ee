"""A store that encrypts: over any other one."""

from collections.abc import Callable
from typing import Final

from pydantic import JsonValue

from agentbus.contracts.clock import Clock, SystemClock
from agentbus.contracts.errors import ConfigurationError
from agentbus.contracts.records import Record, RecordKind
from agentbus.storage.calls import end_well
from agentbus.storage.cancelling import cancelled_once
from agentbus.storage.encryption.coder import Coder
from agentbus.storage.encryption.data_keys import DataKeys
from agentbus.storage.encryption.heads import EncryptedHeads
from agentbus.storage.encryption.log import EncryptedLog
from agentbus.storage.encryption.masters import SETTING, MasterKeys, open_master_keys
from agentbus.storage.encryption.parked import EncryptedParked
from agentbus.storage.encryption.records import EncryptedRecords
from agentbus.storage.factory import open_store
from agentbus.storage.port import Capabilities, Store, StoreInfo

_MARK: Final = "encrypted"
_GROUP: Final = "mark"
_HERE: Final = "here"
_APART: Final = "apart"
_KEY_STORE: Final = "AGENTBUS_ENCRYPTION_KEY_STORE"


@end_well(cancelled_once)
class EncryptedStore(Store):
    """Encrypts what people wrote before `store` keeps it, and decrypts it; with what stays readable it does the rest.

    What was kept before is read as it is. The data keys are records of `key_store`, or of `store` itself: then a
    backup of it holds them too. Without `masters` nothing is encrypted, and what is can't be read: it says so.
    `start` raises ConfigurationError if the store is encrypted and there are no master keys, or other data keys than
    before; KeyMissing and StoreDamaged if a master key is missing or another one.
    """

    def __init__(
        self,
        store: Store,
        masters: MasterKeys | None = None,
        *,
        key_store: Store | None = None,
        clock: Clock | None = None,
        monotonic: Callable[[], float] | None = None,
    ) -> None:
        self.store = store
        self.key_store = key_store
        self._clock = clock or SystemClock()
        self.keys: DataKeys | None = None
        if masters:
            timing = {"monotonic": monotonic} if monotonic else {}
            self.keys = DataKeys((key_store or store).records, masters, self._clock, **timing)
        coder = Coder(self.keys)
        self.log = EncryptedLog(store, coder)
        self.heads = EncryptedHeads(store, coder)
        self.parked = EncryptedParked(store, coder)
        self.records = EncryptedRecords(store, coder)
        self.members = store.members
        self.locks = store.locks

    @property
    def capabilities(self) -> Capabilities:
        return self.store.capabilities

    @property
    def apart(self) -> bool:
        """Whether the data keys are kept in a store of their own."""
        return self.key_store is not None

    async def start(self) -> None:
        await self.store.start()
        if self.key_store:
            await self.key_store.start()
        await self._agree()

    async def close(self) -> None:
        try:
            await self.store.close()
        finally:
            if self.key_store:
                await self.key_store.close()

    async def info(self) -> StoreInfo:
        return await self.store.info()

    async def _agree(self) -> None:
        """See to it that all processes encrypt with the same data keys, and none leaves it."""
        mark = await self.store.records.get(RecordKind.DATA_KEY, _MARK)
        if self.keys is None:
            if mark is not None:
                raise ConfigurationError(f"this store is encrypted: give its master keys by {SETTING}{_also(mark)}")
            return
        where = _APART if self.apart else _HERE
        if mark is not None and mark.data.get("keys") != where:
            raise ConfigurationError(
                f"the data keys of this store are {_place(str(mark.data.get('keys')))}: check {_KEY_STORE}"
            )
        index = await self.keys.start(str(mark.data.get("index")) if mark else None)
        if mark is None:
            data: dict[str, JsonValue] = {"keys": where, "index": index}
            made = Record(kind=RecordKind.DATA_KEY, key=_MARK, group=_GROUP, created_at=self._clock.now(), data=data)
            if not await self.store.records.put(made, replace=False):
                await self._agree()  # Somebody else was faster: perhaps with other keys.


def encrypting(
    store: Store, keys: str | None, key_store: str | None = None, opened: Callable[[str], Store] = open_store
) -> EncryptedStore:
    """Return a store that encrypts with the master keys that a setting gives, over another one. Not started yet.

    `key_store` is the URL of the data keys' own store, which `opened` opens. Raises ConfigurationError.
    """
    if keys is None:
        return EncryptedStore(store)
    return EncryptedStore(store, open_master_keys(keys), key_store=opened(key_store) if key_store else None)


def keys_of(store: Store) -> DataKeys | None:
    """Return the data keys that a store encrypts with, if it does."""
    return store.keys if isinstance(store, EncryptedStore) else None


def _also(mark: Record) -> str:
    return f", and where its data keys are by {_KEY_STORE}" if mark.data.get("keys") == _APART else ""


def _place(keys: str) -> str:
    return "in a store of their own" if keys == _APART else "in the store itself"
