"""The SQL store: SQLite today; the schema and the statements are portable."""

from agentbus.storage.calls import end_well
from agentbus.storage.cancelling import cancelled_once
from agentbus.storage.port import Capabilities, Store, StoreInfo, StoreOptions
from agentbus.storage.sql.base import SqlDatabase
from agentbus.storage.sql.heads import SqlHeads
from agentbus.storage.sql.locks import SqlLocks
from agentbus.storage.sql.log import SqlLog
from agentbus.storage.sql.members import SqlMembers
from agentbus.storage.sql.parked import SqlParked
from agentbus.storage.sql.records import SqlRecords

__all__ = ["SqlStore"]


@end_well(cancelled_once)
class SqlStore(Store):
    """Keeps conversations in a SQL database."""

    def __init__(self, url: str, options: StoreOptions) -> None:
        self._database = SqlDatabase(url, options)
        self.log = SqlLog(self._database)
        self.heads = SqlHeads(self._database)
        self.parked = SqlParked(self._database)
        self.members = SqlMembers(self._database)
        self.records = SqlRecords(self._database)
        self.locks = SqlLocks(self._database)

    @property
    def capabilities(self) -> Capabilities:
        return self._database.dialect.CAPABILITIES

    async def start(self) -> None:
        await self._database.start()

    async def close(self) -> None:
        await self._database.close()

    async def info(self) -> StoreInfo:
        return await self._database.info()
