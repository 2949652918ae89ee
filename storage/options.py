"""What a store may be told besides its URL."""

from dataclasses import dataclass
from typing import Literal

MongoDriver = Literal["motor", "pymongo"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreOptions:
    """Settings of a store; each uses those that concern it."""

    mongo_driver: MongoDriver = "motor"
    """Which client reaches MongoDB: motor, or PyMongo's own async client, its successor."""

    connect_timeout: float = 30.0
    """Seconds that `start` waits for a server that is not there yet."""
