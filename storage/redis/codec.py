"""Between contracts and what Redis keeps. What a later release wrote is read without the fields that this one does not
know.

A row is what scripts need of a document: `lua/documents.lua` says of what it consists.
"""

import json
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from agentbus.contracts.documents import json_in
from agentbus.contracts.events import Commit
from agentbus.contracts.history import SessionSummary
from agentbus.contracts.ids import ConversationId
from agentbus.contracts.members import Member, member_from
from agentbus.contracts.parked import ParkedId, ParkedInput
from agentbus.contracts.records import Record, RecordKind
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.storage.damage import REBUILD, read_as
from agentbus.storage.paging import from_milliseconds, listed_at
from agentbus.storage.redis.layout import US, earliest_first, latest_first, list_of, version_text
from agentbus.storage.statistics import lasted_ms
from agentbus.storage.summaries import summary_in

LISTED: Final = list_of("listed")
"""The list of the sessions that were not deleted."""
DELETED: Final = list_of("deleted")
"""The list of those that were."""
DUE: Final = list_of("due")
"""The list of the sessions, the earliest due first."""
KNOWN: Final = list_of("known")
"""Where the index has all conversations, by their ids."""
PARKED: Final = list_of("parked")
"""The list of all parked inputs."""

_LAST_GENERATION: Final = 999_999_999
_PARKED_FIELDS: Final = frozenset({"parked_id", "status", "attempts", "body"})

to_json = partial(json.dumps, ensure_ascii=False, separators=(",", ":"))
"""Return the JSON of a value, without spaces."""


def to_commit(conversation: ConversationId, version: int, body: bytes | None) -> Commit:
    """Read a commit. Raises StoreDamaged, as all that read do."""
    what = f"commit {version} of conversation {conversation}"
    return read_as(what, lambda kept: _commit(kept, conversation, version), body, version=version)


def _commit(body: bytes | None, conversation: ConversationId, version: int) -> Commit:
    commit = Commit.model_validate_json(body or b"", extra="ignore")
    if (commit.conversation_id, commit.version) != (conversation, version):
        raise ValueError("it is another one")
    return commit


def amendments(commit: Commit) -> list[str]:
    """Return the places that say which messages a commit amends."""
    return [f"{target}{US}{commit.version}" for target in sorted(commit.targets)]


def to_head(session: str, body: bytes | None) -> SessionState:
    """Read a head."""
    return read_as(f"the head of session {session}", _head, body, REBUILD)


def to_summary(session: str, body: bytes | None) -> SessionSummary:
    """Read of a head what a list shows."""
    return read_as(f"the head of session {session}", lambda kept: summary_in(kept or b""), body, REBUILD)


def _head(body: bytes | None) -> SessionState:
    return SessionState.model_validate_json(body or b"", extra="ignore")


def head_row(head: SessionState) -> str:
    """Return the row of a head."""
    fields = _head_fields(head)
    tags = [tag_item(tag) for tag in head.profile.tags]
    session, listed = head.session_id, listed_at(head)
    lists = [DELETED if head.status is SessionStatus.DELETED else LISTED]
    lists += [list_of(name, str(fields[name])) for name in LISTED_BY if name in fields]
    lists += [list_of("tag", tag) for tag in dict.fromkeys(tags)]
    lists += [list_of("conflicts")] if head.conflicts else []
    places = [f"{one}{latest_first(listed, session)}" for one in lists]
    places += [DUE + earliest_first(head.due_at, session)] if head.due_at else []
    places.append(f"{KNOWN}{head.conversation_id}")
    places.append(f"{list_of('latest', head.conversation_id)}{_LAST_GENERATION - head.generation:09d}")
    row: dict[str, Any] = {"v": version_text(head.version), "x": places, "f": fields, "t": tags}
    return to_json(row | {"live": head.is_live, "m": head.message_count, "l": lasted_ms(head)})


LISTED_BY: Final = ("conversation_id", "parent_id", "identity", "user", "chat", "owner", "agent_id")
"""The fields that there are lists by: what many sessions have in common is not among them."""


def _head_fields(head: SessionState) -> dict[str, Any]:
    """Return what a filter may ask for, by its names."""
    address, profile = head.address, head.profile
    found = {
        "status": head.status.value,
        "conversation_id": head.conversation_id,
        "platform": address.platform.value if address else None,
        "account": address.account if address else None,
        "chat": address.chat if address else None,
        "user": address.user if address else None,
        "owner": profile.owner,
        "agent_id": profile.agent_id,
        "parent_id": profile.parent_id,
        "identity": head.identity,
        "conflicts": bool(head.conflicts),
    }
    return {name: value for name, value in found.items() if value is not None}


def tag_item(tag: str) -> str:
    """Return what stands for a tag: its JSON, as a tag may hold what stands between the parts of a place."""
    return json.dumps(tag)


def record_id(kind: RecordKind, key: str) -> str:
    """Return the id of a record."""
    return f"{kind}{US}{key}"


def to_record(kind: RecordKind, key: str, body: bytes | None) -> Record:
    """Read a record."""
    return read_as(f"record {kind} {key}", _record, body, key=key)


def _record(body: bytes | None) -> Record:
    return Record.model_validate_json(body or b"", extra="ignore")


def record_row(record: Record) -> str:
    """Return the row of a record."""
    lists = [list_of("group", record.kind, record.group), list_of("kind", record.kind)]
    places = [one + latest_first(record.created_at, record.key) for one in lists]
    if record.due_at:
        places.append(list_of("due", record.kind) + earliest_first(record.due_at, record.key))
    return to_json({"v": version_text(record.revision), "x": places, "f": {"group": record.group}})


def parked_details(parked: ParkedInput) -> str:
    """Return what is kept of a parked input besides its body and what changes."""
    return parked.model_dump_json(exclude=set(_PARKED_FIELDS))


def parked_row(parked: ParkedInput) -> str:
    """Return the row of a parked input that waits."""
    lists = [PARKED]
    if parked.conversation_id is not None:
        lists.append(list_of("of", parked.conversation_id))
    places = [one + latest_first(parked.parked_at, parked.parked_id) for one in lists]
    fields = {"status": "parked"}
    return to_json({"x": places, "f": fields, "attempts": parked.attempts, "size": len(parked.body)})


def to_parked(parked_id: str, details: bytes | None, row: bytes | None, body: bytes) -> ParkedInput:
    """Read a parked input, with as much of its body as is given."""
    return read_as(f"parked input {parked_id}", lambda kept: _parked(parked_id, kept, row, body), details)


def _parked(parked_id: str, details: bytes | None, row: bytes | None, body: bytes) -> ParkedInput:
    changing = json_in(row or b"")
    fields = {"parked_id": parked_id, "attempts": changing["attempts"], "status": changing["f"]["status"], "body": body}
    return ParkedInput.model_validate(json_in(details or b"") | fields, extra="ignore")


def body_size(parked_id: ParkedId, row: bytes | None) -> int:
    """Return how many bytes the body of a parked input has."""
    return read_as(f"parked input {parked_id}", lambda kept: int(json_in(kept or b"")["size"]), row)


def member_body(member: Member) -> str:
    """Return what a member says of itself."""
    return member.model_dump_json(exclude={"worker_id", "seen_at"})


def to_member(worker: bytes, seen: bytes, body: bytes) -> Member:
    """Read a member."""
    try:
        said: Mapping[str, Any] = dict(json_in(body))
    except (ValueError, TypeError):
        said = {}
    return member_from({**said, "worker_id": worker.decode(), "seen_at": from_milliseconds(int(seen))})
