"""The store port: a log of commits per conversation, a head per session, and what is kept beside them."""

from agentbus.storage.port.heads import Heads
from agentbus.storage.port.locks import LastToken, Locks
from agentbus.storage.port.log import Loaded, Log, stamp_of
from agentbus.storage.port.members import Epoch, Members, attempt_at
from agentbus.storage.port.parked import LISTED_BODY, ParkedInputs
from agentbus.storage.port.records import Records
from agentbus.storage.port.store import (
    MAX_PAGE,
    Capabilities,
    Deleted,
    Lists,
    MongoDriver,
    Reach,
    Store,
    StoreInfo,
    StoreOptions,
    Together,
)

__all__ = [
    "LISTED_BODY",
    "MAX_PAGE",
    "Capabilities",
    "Deleted",
    "Epoch",
    "Heads",
    "LastToken",
    "Lists",
    "Loaded",
    "Locks",
    "Log",
    "Members",
    "MongoDriver",
    "ParkedInputs",
    "Reach",
    "Records",
    "Store",
    "StoreInfo",
    "StoreOptions",
    "Together",
    "attempt_at",
    "stamp_of",
]
