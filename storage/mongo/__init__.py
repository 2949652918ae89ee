"""The MongoDB store: the one for production."""

from storage.calls import end_well
from storage.cancelling import finished
from storage.mongo.heads import MongoHeads
from storage.mongo.locks import MongoLocks
from storage.mongo.log import MongoLog
from storage.mongo.members import MongoMembers
from storage.mongo.parked import MongoParked
from storage.mongo.records import MongoRecords

__all__ = ["MongoStore"]


@end_well(finished)
class MongoStore(MongoLog, MongoHeads, MongoParked, MongoMembers, MongoRecords, MongoLocks):
    """Keeps conversations in MongoDB 5.0 or later: a single server, a replica set or a sharded cluster."""
