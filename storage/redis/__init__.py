"""The Redis store: one server, or a cluster of them; also Valkey."""

from agentbus.storage.calls import end_well
from agentbus.storage.cancelling import finished
from agentbus.storage.port import Capabilities, Deleted, Lists, Reach, Store, StoreInfo, StoreOptions, Together
from agentbus.storage.redis.base import RedisDatabase
from agentbus.storage.redis.heads import RedisHeads
from agentbus.storage.redis.locks import RedisLocks
from agentbus.storage.redis.log import RedisLog
from agentbus.storage.redis.members import RedisMembers
from agentbus.storage.redis.parked import RedisParked
from agentbus.storage.redis.records import RedisRecords

__all__ = ["RedisStore"]


@end_well(finished)
class RedisStore(Store):
    """Keeps conversations in Redis 7.0 or later, or in Valkey: a server, or a cluster, that writes to its disk."""

    def __init__(self, url: str, options: StoreOptions) -> None:
        self._database = RedisDatabase(url, options)
        self.log = RedisLog(self._database)
        self.heads = RedisHeads(self._database)
        self.parked = RedisParked(self._database)
        self.members = RedisMembers(self._database)
        self.records = RedisRecords(self._database)
        self.locks = RedisLocks(self._database)

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            reach=Reach.NETWORK,
            is_durable=True,
            together=Together.COMMIT,
            largest_commit="64 MiB",
            lists=Lists.INDEXES,
            deleted=Deleted.SERVER,
        )

    async def start(self) -> None:
        await self._database.start()

    async def close(self) -> None:
        await self._database.close()

    async def info(self) -> StoreInfo:
        return await self._database.info()
