"""Between contracts and rows. What a later release wrote is read without the fields that this one does not know."""

import json
from typing import Any

from sqlalchemy import RowMapping

from contracts.events import Commit
from contracts.members import Member, member_from
from contracts.parked import ParkedInput
from contracts.records import Record
from contracts.session import SessionState
from storage.paging import from_milliseconds, listed_at, to_milliseconds
from storage.statistics import lasted_ms

Row = dict[str, Any]
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
    address, profile = head.address, head.profile
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
        "due_at": to_milliseconds(head.due_at) if head.due_at else None,
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


def member_row(group: str, member: Member, seen_at: int) -> Row:
    """Return the row of `members`; `seen_at` in milliseconds from 1970."""
    return {
        "group": group,
        "worker_id": member.worker_id,
        "seen_at": seen_at,
        "body": member.model_dump_json(exclude={"worker_id", "seen_at"}),
    }


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


def to_commit(body: str) -> Commit:
    """Read the body of a row of `commits`."""
    return Commit.model_validate_json(body, extra="ignore")


def to_head(body: str) -> SessionState:
    """Read the body of a row of `heads`."""
    return SessionState.model_validate_json(body, extra="ignore")


def to_parked(row: RowMapping) -> ParkedInput:
    """Read a row of `parked`."""
    columns = {name: row[name] for name in _PARKED_COLUMNS}
    return ParkedInput.model_validate(json.loads(row["details"]) | columns, extra="ignore")


def to_member(row: RowMapping) -> Member:
    """Read a row of `members`."""
    columns = {"worker_id": row["worker_id"], "seen_at": from_milliseconds(row["seen_at"])}
    return member_from(json.loads(row["body"]) | columns)


def to_record(body: str) -> Record:
    """Read the body of a row of `records`."""
    return Record.model_validate_json(body, extra="ignore")
