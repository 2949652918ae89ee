"""Between contracts and rows. What a later release wrote is read without the fields that this one does not know."""

import json
from typing import Any, Final

from sqlalchemy import Row as Found
from sqlalchemy import RowMapping

from agentbus.contracts.documents import json_in
from agentbus.contracts.events import Commit
from agentbus.contracts.history import SessionSummary
from agentbus.contracts.members import Member, member_from
from agentbus.contracts.parked import ParkedInput
from agentbus.contracts.records import Record
from agentbus.contracts.session import SessionState
from agentbus.storage.damage import REBUILD, read_as
from agentbus.storage.paging import from_milliseconds, listed_at, to_milliseconds
from agentbus.storage.sql import schema
from agentbus.storage.statistics import lasted_ms
from agentbus.storage.summaries import summary_in

Row = dict[str, Any]
COMMIT: Final[tuple[Any, ...]] = (schema.commits.c.conversation_id, schema.commits.c.version, schema.commits.c.body)
HEAD: Final[tuple[Any, ...]] = (schema.heads.c.conversation_id, schema.heads.c.session_id, schema.heads.c.body)
RECORD: Final[tuple[Any, ...]] = (schema.records.c.kind, schema.records.c.key, schema.records.c.body)
"""The columns that say what a row is and what is in it."""

_PARKED_COLUMNS = frozenset({"parked_id", "conversation_id", "status", "attempts", "body"})


def commit_row(commit: Commit) -> Row:
    """Return the row of `commits`."""
    return {
        "conversation_id": commit.conversation_id,
        "version": commit.version,
        "epoch": commit.epoch,
        "at": to_milliseconds(commit.at),
        "body": commit.model_dump_json(),
    }


def input_rows(commit: Commit) -> list[Row]:
    """Return the rows of `inputs`."""
    key = {"conversation_id": commit.conversation_id, "version": commit.version}
    return [key | {"input_id": input_id} for input_id in dict.fromkeys(commit.inputs)]


def amendment_rows(commit: Commit) -> list[Row]:
    """Return the rows of `amendments`."""
    key = {"conversation_id": commit.conversation_id, "version": commit.version}
    return [key | {"target": target} for target in commit.targets]


def head_row(head: SessionState) -> Row:
    """Return the row of `heads`."""
    address, profile, due_at = head.address, head.profile, head.due_at
    return {
        "session_id": head.session_id,
        "conversation_id": head.conversation_id,
        "generation": head.generation,
        "version": head.version,
        "status": head.status.value,
        "platform": address.platform.value if address else None,
        "account": address.account if address else None,
        "chat": address.chat if address else None,
        "user": address.user if address else None,
        "owner": profile.owner,
        "agent_id": profile.agent_id,
        "parent_id": profile.parent_id,
        "tags": json.dumps([tag_item(tag) for tag in profile.tags]) if profile.tags else None,
        "identity": head.identity,
        "conflicts": bool(head.conflicts),
        "due_at": to_milliseconds(due_at) if due_at else None,
        "listed_at": to_milliseconds(listed_at(head)),
        "message_count": head.message_count,
        "lasted_ms": lasted_ms(head),
        "body": head.model_dump_json(),
    }


def tag_item(tag: str) -> str:
    """Return what stands for a tag in the list of `heads`: its JSON, as SQLite cuts texts in JSON off at a NUL."""
    return json.dumps(tag)


def parked_row(parked: ParkedInput) -> Row:
    """Return the row of `parked`."""
    return {
        "parked_id": parked.parked_id,
        "conversation_id": parked.conversation_id,
        "status": parked.status.value,
        "attempts": parked.attempts,
        "parked_at": to_milliseconds(parked.parked_at),
        "details": parked.model_dump_json(exclude=set(_PARKED_COLUMNS)),
        "body": parked.body,
    }


def member_body(member: Member) -> str:
    """Return what a row of `members` keeps as a whole."""
    return member.model_dump_json(exclude={"worker_id", "seen_at"})


def record_row(record: Record) -> Row:
    """Return the row of `records`."""
    return {
        "kind": record.kind.value,
        "key": record.key,
        "group": record.group,
        "created_at": to_milliseconds(record.created_at),
        "revision": record.revision,
        "due_at": to_milliseconds(record.due_at) if record.due_at else None,
        "body": record.model_dump_json(),
    }


def to_commit(row: Found[Any]) -> Commit:
    """Read a row of `COMMIT`. Raises StoreDamaged, as all that read do."""
    what = f"commit {row.version} of conversation {row.conversation_id}"
    return read_as(what, _commit, row.body, version=row.version)


def to_head(row: Found[Any]) -> SessionState:
    """Read a row of `HEAD`."""
    return read_as(f"the head of session {row.session_id}", _head, row.body, REBUILD)


def to_summary(row: Found[Any]) -> SessionSummary:
    """Read of a row of `HEAD` what a list shows."""
    return read_as(f"the head of session {row.session_id}", summary_in, row.body, REBUILD)


def to_parked(row: Found[Any]) -> ParkedInput:
    """Read a row of `parked`."""
    return read_as(f"parked input {row.parked_id}", _parked, row._mapping)  # noqa: SLF001 - SQLAlchemy documents it


def to_member(row: RowMapping) -> Member:
    """Read a row of `members`."""
    columns = {"worker_id": row["worker_id"], "seen_at": from_milliseconds(row["seen_at"])}
    return member_from(_object(row["body"]) | columns)


def to_record(row: Found[Any]) -> Record:
    """Read a row of `RECORD`."""
    return read_as(f"{row.kind} record {row.key}", _record, row.body, key=row.key)


def _commit(body: str) -> Commit:
    return Commit.model_validate_json(body, extra="ignore")


def _head(body: str) -> SessionState:
    return SessionState.model_validate_json(body, extra="ignore")


def _record(body: str) -> Record:
    return Record.model_validate_json(body, extra="ignore")


def _parked(row: RowMapping) -> ParkedInput:
    columns = {name: row[name] for name in _PARKED_COLUMNS}
    return ParkedInput.model_validate(json_in(row["details"]) | columns, extra="ignore")


def _object(text: str) -> Row:
    """Return a JSON object, or an empty one in the place of what is none."""
    try:
        found = json_in(text)
    except (ValueError, TypeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
