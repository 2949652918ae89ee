"""Encryption at rest: over any store, what people wrote is kept encrypted, and what lists and expiry need is not."""

from agentbus.storage.encryption.contents import (
    ENCRYPTED_RECORDS,
    of_archived,
    of_conversation,
    of_identity,
    of_parked,
    of_user,
    says_something_of_its_conversation,
    subject_of,
    words_in,
)
from agentbus.storage.encryption.data_keys import SURELY_NOTICED, DataKey, DataKeys, Destroyed, KeyInfo, KeyState
from agentbus.storage.encryption.masters import (
    SETTING,
    LocalMasterKeys,
    MasterKeys,
    new_key,
    open_master_keys,
    register_master_keys,
)
from agentbus.storage.encryption.store import EncryptedStore, encrypting, keys_of

__all__ = [
    "ENCRYPTED_RECORDS",
    "SETTING",
    "SURELY_NOTICED",
    "DataKey",
    "DataKeys",
    "Destroyed",
    "EncryptedStore",
    "KeyInfo",
    "KeyState",
    "LocalMasterKeys",
    "MasterKeys",
    "encrypting",
    "keys_of",
    "new_key",
    "of_archived",
    "of_conversation",
    "of_identity",
    "of_parked",
    "of_user",
    "open_master_keys",
    "register_master_keys",
    "says_something_of_its_conversation",
    "subject_of",
    "words_in",
]
