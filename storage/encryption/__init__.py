"""Encryption at rest: over any store, what people wrote is kept encrypted, and what lists and expiry need is not."""

from agentbus.storage.encryption.data_keys import SURELY_NOTICED, DataKeys, KeyInfo, KeyState
from agentbus.storage.encryption.masters import (
    SETTING,
    LocalMasterKeys,
    MasterKeys,
    new_key,
    open_master_keys,
    register_master_keys,
)
from agentbus.storage.encryption.store import EncryptedStore

__all__ = [
    "SETTING",
    "SURELY_NOTICED",
    "DataKeys",
    "EncryptedStore",
    "KeyInfo",
    "KeyState",
    "LocalMasterKeys",
    "MasterKeys",
    "new_key",
    "open_master_keys",
    "register_master_keys",
]
