"""The SQL store: SQLite today; the schema and the statements are portable."""

from storage.sql.heads import SqlHeads
from storage.sql.log import SqlLog
from storage.sql.members import SqlMembers
from storage.sql.parked import SqlParked

__all__ = ["SqlStore"]


class SqlStore(SqlLog, SqlHeads, SqlParked, SqlMembers):
    """Keeps conversations in a SQL database."""
