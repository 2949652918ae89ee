"""Keys for tests, and what is below a store that encrypts."""

from typing import Final

from agentbus.storage.encryption import EncryptedStore, LocalMasterKeys
from agentbus.storage.port import Store

FIRST: Final = bytes(range(32))
SECOND: Final = bytes(range(1, 33))

MASTERS: Final = LocalMasterKeys({"first": FIRST})


def bare(store: Store) -> Store:
    """Return the store that holds the bytes."""
    return store.store if isinstance(store, EncryptedStore) else store
