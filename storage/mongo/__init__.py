"""The MongoDB store: the one for production."""

from agentbus.storage.calls import end_well
from agentbus.storage.cancelling import finished
from agentbus.storage.mongo.base import MongoDatabase
from agentbus.storage.mongo.heads import MongoHeads
from agentbus.storage.mongo.locks import MongoLocks
from agentbus.storage.mongo.log import MongoLog
from agentbus.storage.mongo.members import MongoMembers
from agentbus.storage.mongo.parked import MongoParked
from agentbus.storage.mongo.records import MongoRecords
from agentbus.storage.port import Capabilities, Lists, Reach, Store, StoreInfo, StoreOptions

__all__ = ["MongoStore"]


@end_well(finished)
class MongoStore(Store):
    """Keeps conversations in MongoDB 5.0 or later: a single server, a replica set or a sharded cluster."""

    def __init__(self, url: str, options: StoreOptions) -> None:
        self._database = MongoDatabase(url, options)
        self.log = MongoLog(self._database)
        self.heads = MongoHeads(self._database)
        self.parked = MongoParked(self._database)
        self.members = MongoMembers(self._database)
        self.records = MongoRecords(self._database)
        self.locks = MongoLocks(self._database)

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(reach=Reach.NETWORK, is_durable=True, largest_commit="16 MiB", lists=Lists.INDEXES)

    async def start(self) -> None:
        await self._database.start()

    async def close(self) -> None:
        await self._database.close()

    async def info(self) -> StoreInfo:
        return await self._database.info()
