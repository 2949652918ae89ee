"""The store port: a log of commits per conversation, a head per session, and what is kept beside them."""

from agentbus.storage.port.heads import Heads
from agentbus.storage.port.locks import Locks
from agentbus.storage.port.log import Loaded, Log
from agentbus.storage.port.members import Members, attempt_at
from agentbus.storage.port.parked import LISTED_BODY, ParkedInputs
from agentbus.storage.port.records import Records
from agentbus.storage.port.store import MAX_PAGE, MongoDriver, Store, StoreInfo, StoreOptions

__all__ = [
    "LISTED_BODY",
    "MAX_PAGE",
    "Heads",
    "Loaded",
    "Locks",
    "Log",
    "Members",
    "MongoDriver",
    "ParkedInputs",
    "Records",
    "Store",
    "StoreInfo",
    "StoreOptions",
    "attempt_at",
]
