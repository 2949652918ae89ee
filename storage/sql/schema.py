"""The tables. Moments that sort are milliseconds from 1970; what only comes back as a whole is JSON text.

Who changes them adds a revision: agentbus.storage.sql.revisions.
"""

from typing import Any, Final

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, MetaData, String, Table, Text
from sqlalchemy.dialects import mysql
from sqlalchemy.ext.compiler import compiles

from agentbus.contracts.base import MAX_ID_LENGTH

metadata = MetaData()

OF_MYSQL: Final[dict[str, Any]] = {"mysql_engine": "InnoDB", "mysql_row_format": "DYNAMIC"}
"""What a table has in MySQL, whatever the server's defaults: transactions, and keys as long as ours."""

PARTIAL: Final = ("sqlite", "postgresql")
"""The databases whose indexes may be of some rows alone."""


def _partial(*_: object, dialect: Any, **__: object) -> bool:
    """Return whether a database's indexes may be of some rows alone, as SQLAlchemy asks it."""
    return dialect.name in PARTIAL


class Exact(String):
    """Text that compares byte by byte, spaces at its end too, whatever the database's own rules are."""


@compiles(Exact)
def _exact(kind: Exact, compiler: Any, **settings: Any) -> str:
    text = str(compiler.visit_VARCHAR(kind, **settings))
    match compiler.dialect.name:
        case "postgresql":
            return f'{text} COLLATE "C"'
        case "mysql" | "mariadb":
            # The collations `utf8mb4_bin` of both pass over spaces at the end.
            by_bytes = "utf8mb4_nopad_bin" if compiler.dialect.is_mariadb else "utf8mb4_0900_bin"
            return f"{text} CHARACTER SET utf8mb4 COLLATE {by_bytes}"
        case _:
            return text


_Id = Exact(MAX_ID_LENGTH)
# An input's id, and the name of an attempt: agentbus.storage.port.attempt_at.
_Attempt = Exact(MAX_ID_LENGTH).with_variant(Exact(2 * MAX_ID_LENGTH + 1), "postgresql", "mysql")
# SQLite has one kind, of 64 bits: what a call asks for may be larger than anything that is kept.
_Integer = Integer().with_variant(BigInteger(), "postgresql", "mysql")
_Word = Exact(32)
_Json = Text().with_variant(mysql.LONGTEXT(charset="utf8mb4", collation="utf8mb4_bin"), "mysql")
_Bytes = LargeBinary().with_variant(mysql.LONGBLOB(), "mysql")

commits = Table(
    "commits",
    metadata,
    Column("conversation_id", _Id, primary_key=True),
    Column("version", _Integer, primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("body", _Json, nullable=False),
)

inputs = Table(
    "inputs",
    metadata,
    Column("conversation_id", _Id, primary_key=True),
    Column("input_id", _Id, primary_key=True),
    Column("version", _Integer, nullable=False),
)

amendments = Table(
    "amendments",
    metadata,
    Column("conversation_id", _Id, primary_key=True),
    Column("target", _Id, primary_key=True),
    Column("version", _Integer, primary_key=True, autoincrement=False),
)

heads = Table(
    "heads",
    metadata,
    Column("session_id", _Id, primary_key=True),
    Column("conversation_id", _Id, nullable=False),
    Column("generation", _Integer, nullable=False),
    Column("version", _Integer, nullable=False),
    Column("status", _Word, nullable=False),
    Column("platform", _Word),
    Column("account", _Id),
    Column("chat", _Id, index=True),
    Column("user", _Id, index=True),
    Column("owner", _Id),
    Column("agent_id", _Id),
    Column("parent_id", _Id),
    Column("tags", _Json),
    Column("identity", _Id),
    Column("conflicts", Boolean, nullable=False),
    Column("due_at", BigInteger),
    Column("listed_at", BigInteger, nullable=False),
    Column("message_count", _Integer, nullable=False),
    Column("lasted_ms", BigInteger, nullable=False),
    Column("body", _Json, nullable=False),
    Index("heads_by_conversation", "conversation_id", "generation"),
    Index("heads_by_due", "due_at", "session_id"),
)
Index("heads_by_activity", heads.c.listed_at.desc(), heads.c.session_id)
Index("heads_by_owner", heads.c.owner, heads.c.listed_at.desc(), heads.c.session_id)
Index("heads_by_agent", heads.c.agent_id, heads.c.listed_at.desc(), heads.c.session_id)
Index("heads_by_parent", heads.c.parent_id, heads.c.listed_at.desc(), heads.c.session_id)
# Few heads have an identity, and fewer have conflicts: those without take no room here, where an index may be partial.
# Elsewhere that of the conflicts would be heads_by_activity once more.
Index(
    "heads_by_identity",
    heads.c.identity,
    heads.c.listed_at.desc(),
    heads.c.session_id,
    sqlite_where=heads.c.identity.is_not(None),
    postgresql_where=heads.c.identity.is_not(None),
)
Index(
    "heads_by_conflict",
    heads.c.listed_at.desc(),
    heads.c.session_id,
    sqlite_where=heads.c.conflicts.is_(True),
    postgresql_where=heads.c.conflicts.is_(True),
).ddl_if(callable_=_partial)

parked = Table(
    "parked",
    metadata,
    Column("parked_id", _Id, primary_key=True),
    Column("conversation_id", _Id),
    Column("status", _Word, nullable=False),
    Column("attempts", _Integer, nullable=False),
    Column("parked_at", BigInteger, nullable=False),
    Column("details", _Json, nullable=False),
    Column("body", _Bytes, nullable=False),
)
Index("parked_by_time", parked.c.parked_at.desc(), parked.c.parked_id)
Index("parked_by_conversation", parked.c.conversation_id, parked.c.parked_at.desc(), parked.c.parked_id)

parked_bodies = Table(
    "parked_bodies",
    metadata,
    Column("parked_id", _Id, primary_key=True),
    Column("piece", _Integer, primary_key=True, autoincrement=False),
    Column("body", _Bytes, nullable=False),
)

members = Table(
    "members",
    metadata,
    Column("group", _Id, primary_key=True),
    Column("worker_id", _Id, primary_key=True),
    Column("seen_at", BigInteger, nullable=False),
    Column("body", _Json, nullable=False),
)

epochs = Table(
    "epochs",
    metadata,
    Column("group", _Id, primary_key=True),
    Column("partition", _Integer, primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, nullable=False),
)

trials = Table(
    "trials",
    metadata,
    Column("key", _Attempt, primary_key=True),
    Column("count", _Integer, nullable=False),
)

records = Table(
    "records",
    metadata,
    Column("kind", _Word, primary_key=True),
    Column("key", _Id, primary_key=True),
    Column("group", _Id, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("due_at", BigInteger),
    Column("body", _Json, nullable=False),
)
Index("records_by_group", records.c.kind, records.c.group, records.c.created_at.desc(), records.c.key)
# For all groups and for some: it is walked along in the order asked for, and tells the group without the row.
Index(
    "records_by_due",
    records.c.kind,
    records.c.due_at,
    records.c.key,
    records.c.group,
    sqlite_where=records.c.due_at.is_not(None),
    postgresql_where=records.c.due_at.is_not(None),
)

locks = Table(
    "locks",
    metadata,
    Column("name", _Id, primary_key=True),
    Column("token", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
)

for _table in metadata.tables.values():
    _table.dialect_kwargs.update(OF_MYSQL)
