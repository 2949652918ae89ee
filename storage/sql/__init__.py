"""The SQL store: SQLite today; the schema and the statements are portable."""

from storage.calls import end_well
from storage.cancelling import cancelled_once
from storage.port import Store, StoreInfo, StoreOptions
from storage.sql.base import SqlDatabase
from storage.sql.heads import SqlHeads
from storage.sql.locks import SqlLocks
from storage.sql.log import SqlLog
from storage.sql.members import SqlMembers
from storage.sql.parked import SqlParked
from storage.sql.records import SqlRecords

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

    async def start(self) -> None:
        await self._database.start()

    async def close(self) -> None:
        await self._database.close()

    async def info(self) -> StoreInfo:
        return await self._database.info()
