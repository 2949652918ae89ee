"""Between contracts and documents.

A commit is `{_id: {c: conversation, v: version}, epoch, at, inputs, events, targets}`; `inputs` and `targets` are left
out when empty. A head holds the state's fields, its session id as `_id`, `listed_at` to sort by, and `due_at` unless it
is None. Keys that users choose (of data, metadata, shares, and of what names or holds fields of them) are
percent-encoded where `$` or `.` could be taken for MongoDB's own syntax.
A record is `{_id: {k: kind, n: key}, group, created_at, data, revision}`, and `due_at` unless it is None.
A parked input holds the beginning of its `body` and the `body_size` of all of it; the rest is in pieces.
What a later release wrote is read without the fields that this one does not know.
"""

from collections.abc import Callable, Collection
from typing import Any, Final

import bson
from bson.raw_bson import RawBSONDocument
from pydantic import JsonValue

from agentbus.contracts.events import Commit
from agentbus.contracts.history import SessionSummary
from agentbus.contracts.ids import ConversationId, Partition
from agentbus.contracts.members import Member, WorkerId, member_from
from agentbus.contracts.parked import ParkedId, ParkedInput
from agentbus.contracts.records import Record, RecordKind
from agentbus.contracts.session import SessionState
from agentbus.storage.damage import REBUILD, read_as
from agentbus.storage.mongo.driver import Document
from agentbus.storage.paging import listed_at
from agentbus.storage.port import LISTED_BODY
from agentbus.storage.summaries import ListedHead, ListedProfile, summary_of

MAX_DOCUMENT: Final = 16 * 1024 * 1024
"""Bytes that a document may have; MongoDB's limit."""

MAX_VERSION: Final = bson.Int64(2**63 - 1)
_JSON_FIELDS: Final = ("data", "metadata", "values", "shares", "stamps", "bases", "value")
_PARTS: Final = ("profile", "applied", "kept", "entries", "conflicts", "held", "offered")
"""Fields whose documents, one or a list of them, have such fields."""
_WITH_KEYS: Final = frozenset((*_JSON_FIELDS, *_PARTS))


def commit_id(conversation: ConversationId, version: int) -> Document:
    """Return the `_id` of a commit. The order of its keys matters: embedded documents compare field by field."""
    return {"c": conversation, "v": version}


def commit_document(commit: Commit) -> RawBSONDocument:
    """Return the document of a commit, encoded, so that one that can't be kept does not spoil a batch.

    Raises BSONError or OverflowError for a value that BSON can't hold, ValueError for a document over the limit.
    """
    document: Document = {
        "_id": commit_id(commit.conversation_id, commit.version),
        "epoch": commit.epoch,
        "at": commit.at,
        "inputs": list(commit.inputs),
        "events": [_escaped(event.model_dump()) for event in commit.events],
        "targets": sorted(commit.targets),
    }
    for name in ("inputs", "targets"):
        if not document[name]:
            del document[name]
    raw = bson.encode(document)
    if len(raw) > MAX_DOCUMENT:
        raise ValueError(f"a commit of {len(raw)} bytes, the limit is {MAX_DOCUMENT}")
    return RawBSONDocument(raw)


def to_commit(document: Document) -> Commit:
    """Read the document of a commit. Raises StoreDamaged, as all that read do."""
    return read_as(f"commit {_named(document)}", _commit, document, version=document["_id"]["v"])


def _commit(document: Document) -> Commit:
    identity = document["_id"]
    fields = {
        "conversation_id": identity["c"],
        "version": identity["v"],
        "inputs": document.get("inputs", ()),
        "events": [_unescaped(event) for event in document["events"]],
    }
    return Commit.model_validate(document | fields, extra="ignore")


def head_document(head: SessionState) -> Document:
    """Return the document of a head."""
    return head_marks(head) | head_fields(head)


def head_marks(head: SessionState) -> Document:
    """Return what a head's document has beside the state's fields."""
    marks = {"_id": head.session_id, "listed_at": listed_at(head)}
    return marks | {"due_at": due_at} if (due_at := head.due_at) else marks


def head_fields(head: SessionState, *, without: Collection[str] = ()) -> Document:
    """Return the state's fields, or those that are not left out, as they stand in a head's document."""
    return _escaped(head.model_dump(exclude={*without}))


def to_head(document: Document) -> SessionState:
    """Read the document of a head."""
    return read_as(f"the head of session {_named(document)}", _head, document, REBUILD)


_WITHIN: Final = {"profile": ListedProfile.model_fields, "conflicts": ("opened_at",)}
LISTED: Final[Document] = dict.fromkeys(ListedHead.model_fields.keys() - _WITHIN, 1) | {
    f"{part}.{name}": 1 for part, names in _WITHIN.items() for name in names
}
"""The fields of a head that a list shows: there are no keys among them that users chose. A conflict is there or not."""


def to_summary(document: Document) -> SessionSummary:
    """Read `LISTED` of the document of a head."""
    return read_as(f"the head of session {_named(document)}", _summary, document, REBUILD)


def _summary(document: Document) -> SessionSummary:
    return summary_of(ListedHead.model_validate(document, extra="ignore"))


def _head(document: Document) -> SessionState:
    return SessionState.model_validate(_unescaped(document), extra="ignore")


def parked_document(parked: ParkedInput) -> Document:
    """Return the document of a parked input: with the beginning of its body."""
    document = parked.model_dump()
    return (
        {"_id": document.pop("parked_id")}
        | document
        | {"body": parked.body[:LISTED_BODY], "body_size": len(parked.body)}
    )


def piece_id(parked_id: ParkedId, number: int) -> Document:
    """Return the `_id` of a piece of a parked input's body."""
    return {"p": parked_id, "n": number}


def to_parked(document: Document) -> ParkedInput:
    """Read the document of a parked input."""
    return read_as(f"parked input {_named(document)}", _parked, document)


def _parked(document: Document) -> ParkedInput:
    return ParkedInput.model_validate(document | {"parked_id": document["_id"]}, extra="ignore")


def member_id(group: str, worker: WorkerId) -> Document:
    """Return the `_id` of a member: its group first, as members are asked for by group."""
    return {"g": group, "w": worker}


def member_fields(member: Member) -> Document:
    """Return what a member says of itself, without its identity and what the server adds."""
    return member.model_dump(exclude={"worker_id", "seen_at"})


def to_member(document: Document) -> Member:
    """Read the document of a member."""
    return member_from(document | {"worker_id": document["_id"]["w"]})


def epoch_id(group: str, partition: Partition) -> Document:
    """Return the `_id` of a partition's epoch."""
    return {"g": group, "p": partition}


def record_id(kind: RecordKind, key: str) -> Document:
    """Return the `_id` of a record."""
    return {"k": kind, "n": key}


def record_document(record: Record) -> Document:
    """Return the document of a record."""
    left_out = {"kind", "key"} if record.due_at else {"kind", "key", "due_at"}
    fields = _escaped(record.model_dump(exclude=left_out))
    return {"_id": record_id(record.kind, record.key)} | fields


def to_record(document: Document) -> Record:
    """Read the document of a record."""
    return read_as(f"record {_named(document)}", _record, document, key=document["_id"]["n"])


def _record(document: Document) -> Record:
    identity = document["_id"]
    return Record.model_validate(_unescaped(document) | {"kind": identity["k"], "key": identity["n"]}, extra="ignore")


def _named(document: Document) -> str:
    """Return the `_id` of a document, as people read it."""
    identity = document["_id"]
    return " ".join(map(str, identity.values())) if isinstance(identity, dict) else str(identity)


def _escaped(document: Document) -> Document:
    return _with_keys(_escape, document)


def _unescaped(document: Document) -> Document:
    return _with_keys(_unescape, document)


def _with_keys(change: Callable[[Any], JsonValue], document: Document) -> Document:
    """Return a document with the keys that users chose changed, in its parts as well."""
    if _WITH_KEYS.isdisjoint(document):
        return document
    changed: Document = {name: change(document[name]) for name in _JSON_FIELDS if document.get(name)}
    for name in _PARTS:
        if part := document.get(name):
            one = isinstance(part, dict)
            changed[name] = _with_keys(change, part) if one else [_with_keys(change, item) for item in part]
    return document | changed


def _escape(value: JsonValue) -> JsonValue:
    if isinstance(value, dict):
        return {_escape_key(key): _escape(item) for key, item in value.items()}
    return [_escape(item) for item in value] if isinstance(value, list) else value


def _unescape(value: Any) -> JsonValue:
    if isinstance(value, dict):
        return {_unescape_key(key): _unescape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_unescape(item) for item in value]
    # The client reads 64-bit integers as a type of its own.
    return int(value) if isinstance(value, bson.Int64) else value


def _escape_key(key: str) -> str:
    return key.replace("%", "%25").replace("$", "%24").replace(".", "%2E")


def _unescape_key(key: str) -> str:
    return key.replace("%2E", ".").replace("%24", "$").replace("%25", "%") if "%" in key else key
