"""The tables. Moments that sort are milliseconds from 1970; what only comes back as a whole is JSON text."""

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, LargeBinary, MetaData, String, Table, Text
from sqlalchemy.dialects import mysql

from agentbus.contracts.base import MAX_ID_LENGTH

metadata = MetaData()

_Id = String(MAX_ID_LENGTH)
_Json = Text().with_variant(mysql.LONGTEXT(), "mysql")
_Bytes = LargeBinary().with_variant(mysql.LONGBLOB(), "mysql")

commits = Table(
    "commits",
    metadata,
    Column("conversation_id", _Id, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("body", _Json, nullable=False),
)

inputs = Table(
    "inputs",
    metadata,
    Column("conversation_id", _Id, primary_key=True),
    Column("input_id", _Id, primary_key=True),
    Column("version", Integer, nullable=False),
)

amendments = Table(
    "amendments",
    metadata,
    Column("conversation_id", _Id, primary_key=True),
    Column("target", _Id, primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
)

heads = Table(
    "heads",
    metadata,
    Column("session_id", _Id, primary_key=True),
    Column("conversation_id", _Id, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("version", Integer, nullable=False),
    Column("status", String(32), nullable=False),
    Column("platform", String(32)),
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
    Column("message_count", Integer, nullable=False),
    Column("lasted_ms", BigInteger, nullable=False),
    Column("body", _Json, nullable=False),
    Index("heads_by_conversation", "conversation_id", "generation"),
    Index("heads_by_due", "due_at", "session_id"),
)
Index("heads_by_activity", heads.c.listed_at.desc(), heads.c.session_id)
Index("heads_by_owner", heads.c.owner, heads.c.listed_at.desc(), heads.c.session_id)
Index("heads_by_agent", heads.c.agent_id, heads.c.listed_at.desc(), heads.c.session_id)
Index("heads_by_parent", heads.c.parent_id, heads.c.listed_at.desc(), heads.c.session_id)
# Few heads have an identity, and fewer have conflicts: those without take no room here.
Index(
    "heads_by_identity",
    heads.c.identity,
    heads.c.listed_at.desc(),
    heads.c.session_id,
    sqlite_where=heads.c.identity.is_not(None),
)
Index("heads_by_conflict", heads.c.listed_at.desc(), heads.c.session_id, sqlite_where=heads.c.conflicts.is_(True))

parked = Table(
    "parked",
    metadata,
    Column("parked_id", _Id, primary_key=True),
    Column("conversation_id", _Id),
    Column("status", String(32), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("parked_at", BigInteger, nullable=False),
    Column("details", _Json, nullable=False),
    Column("body", _Bytes, nullable=False),
)
Index("parked_by_time", parked.c.parked_at.desc(), parked.c.parked_id)
Index("parked_by_conversation", parked.c.conversation_id, parked.c.parked_at.desc(), parked.c.parked_id)

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
    Column("partition", Integer, primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, nullable=False),
)

trials = Table(
    "trials",
    metadata,
    Column("key", _Id, primary_key=True),
    Column("count", Integer, nullable=False),
)

records = Table(
    "records",
    metadata,
    Column("kind", String(32), primary_key=True),
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
)

locks = Table(
    "locks",
    metadata,
    Column("name", _Id, primary_key=True),
    Column("token", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
)
