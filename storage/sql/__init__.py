"""The SQL store: SQLite today; the schema and the statements are portable."""

from storage.calls import end_well
from storage.cancelling import cancelled_once
from storage.sql.heads import SqlHeads
from storage.sql.locks import SqlLocks
from storage.sql.log import SqlLog
from storage.sql.members import SqlMembers
from storage.sql.parked import SqlParked
from storage.sql.records import SqlRecords

__all__ = ["SqlStore"]


@end_well(cancelled_once)
class SqlStore(SqlLog, SqlHeads, SqlParked, SqlMembers, SqlRecords, SqlLocks):
    """Keeps conversations in a SQL database."""
