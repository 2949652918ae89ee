"""The store port: a log of commits per conversation, a head per session, and what is kept beside them."""

from storage.port.heads import Heads
from storage.port.locks import Locks
from storage.port.log import Loaded, Log
from storage.port.members import Members, attempt_at
from storage.port.parked import LISTED_BODY, ParkedInputs
from storage.port.records import Records
from storage.port.store import MAX_PAGE, MongoDriver, Store, StoreInfo, StoreOptions

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
