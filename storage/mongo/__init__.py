"""The MongoDB store: the one for production."""

from storage.mongo.heads import MongoHeads
from storage.mongo.log import MongoLog
from storage.mongo.members import MongoMembers
from storage.mongo.parked import MongoParked

__all__ = ["MongoStore"]


class MongoStore(MongoLog, MongoHeads, MongoParked, MongoMembers):
    """Keeps conversations in MongoDB 5.0 or later: a single server, a replica set or a sharded cluster."""
