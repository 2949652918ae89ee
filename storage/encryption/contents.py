"""What is encrypted of what a store keeps, with whose key, and what stands in its place for the store to read.

Ids, clocks, versions, kinds, states and what lists and filters go by stay readable; what people wrote, and what is
kept about them in free form, does not.
"""

import base64
import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final, TypeVar

from pydantic import BaseModel, create_model

from agentbus.contracts.base import Sealable
from agentbus.contracts.errors import KeyMissing, StoreDamaged
from agentbus.contracts.events import (
    ConflictOpened,
    ConflictResolved,
    ContextMerged,
    DataSet,
    MessageAppended,
    MessageEdited,
    MetadataSet,
    ReactionChanged,
    ReplyFailed,
    ReplyUnchanged,
    ReplyUnknown,
    SessionClosed,
    SessionRestored,
    SessionStarted,
    StateChanged,
)
from agentbus.contracts.events.base import SessionEvent
from agentbus.contracts.ids import conversation_of, is_conversation
from agentbus.contracts.messages import Role, SessionMessage, TextContent
from agentbus.contracts.records import Record, RecordKind
from agentbus.contracts.session import SessionState
from agentbus.contracts.sync import Conflict, Entry
from agentbus.storage.damage import RESTORE
from agentbus.storage.encryption.data_keys import DataKey, Destroyed, Opened
from agentbus.storage.encryption.masters import SETTING

Item = TypeVar("Item", bound=Sealable)
_Blank = Callable[[Any], Any]


def _always(blank: object) -> _Blank:
    return lambda _value: blank


def _silent(message: SessionMessage) -> SessionMessage:
    return message.model_copy(update={"author": None, "content": TextContent()})


def _some(conflicts: tuple[Conflict, ...]) -> tuple[Conflict, ...]:
    """Return one conflict that says nothing if there are any: sessions are listed by whether they have some."""
    return tuple(
        Conflict(
            held=None,
            offered=Entry(field="/data/-", stamp=one.offered.stamp),
            source=one.source,
            opened_at=one.opened_at,
        )
        for one in conflicts[:1]
    )


_EMPTY: Final = _always({})
_NONE: Final = _always(())

ENCRYPTED: Final[Mapping[type[BaseModel], Mapping[str, _Blank]]] = {
    SessionStarted: {"data": _EMPTY, "metadata": _EMPTY},
    SessionRestored: {
        "data": _EMPTY,
        "metadata": _EMPTY,
        "stamps": _EMPTY,
        "conflicts": _NONE,
        "turned_down": _NONE,
    },
    StateChanged: {"reason": _always(None)},
    SessionClosed: {"reason": _always(None)},
    MessageAppended: {"message": _silent},
    MessageEdited: {"text": _always(""), "attachments": _NONE},
    ReactionChanged: {"reaction": _always("-")},
    DataSet: {"values": _EMPTY, "removed": _NONE, "bases": _EMPTY},
    MetadataSet: {"values": _EMPTY, "removed": _NONE, "bases": _EMPTY},
    ContextMerged: {"applied": _NONE, "kept": _NONE},
    ConflictOpened: {"conflicts": _NONE},
    ConflictResolved: {"entries": _NONE},
    ReplyFailed: {"reason": _always("")},
    ReplyUnknown: {"reason": _always("")},
    ReplyUnchanged: {"reason": _always("")},
    SessionState: {
        "data": _EMPTY,
        "metadata": _EMPTY,
        "stamps": _EMPTY,
        "conflicts": _some,
        "turned_down": _NONE,
    },
    Record: {"data": _EMPTY},
}
"""The fields that are encrypted, and what stands in their place. All others are readable."""

READABLE_RECORDS: Final = frozenset(
    {
        RecordKind.EXPIRY_RULE,
        RecordKind.DEADLINE,
        RecordKind.SYNC_POLICY,
        RecordKind.SYNC_TASK,
        RecordKind.CLAIM,
        RecordKind.CONTACT,
        RecordKind.SUGGESTION,
        RecordKind.ARCHIVED,
        RecordKind.ERASURE,
        RecordKind.FIGURE,
        RecordKind.UNANNOUNCED,
        RecordKind.INSTALLATION,
        RecordKind.DATA_KEY,
        RecordKind.MIGRATION,
        RecordKind.RESTORE,
        RecordKind.TRACKED,
        RecordKind.ROLLUP,
        RecordKind.USAGE,
        RecordKind.OUTBOX,
        RecordKind.SENDING,
        RecordKind.HELD_BACK,
        RecordKind.WRITING,
        RecordKind.ASKED,
        RecordKind.API_KEY,
        RecordKind.JOURNAL,
        RecordKind.JOURNALED,
        RecordKind.HAND_BACK,
        RecordKind.SIGN_IN,
        RecordKind.JOB,
    }
)
"""Kinds of records that hold ids, moments, counts and an operator's rules, and nothing that people wrote. All others
are encrypted."""


ENCRYPTED_RECORDS: Final = tuple(kind for kind in RecordKind if kind not in READABLE_RECORDS)


# Whose key


def subject_of(item: Sealable) -> str:
    """Return whose key something is encrypted with.

    What a person wrote, and what was said to them, is theirs; everything else of a conversation is its own.
    """
    match item:
        case MessageAppended():
            return of_user(writer) if (writer := _writer(item)) else of_conversation(conversation_of(item.session_id))
        case ReactionChanged(user=user):
            return of_user(user)
        case Record():
            return _owner(item)
        case SessionState():
            return of_conversation(item.conversation_id)
        case SessionEvent():
            return of_conversation(conversation_of(item.session_id))
        case _:
            raise TypeError(type(item).__name__)


def says_something_of_its_conversation(event: SessionEvent) -> bool:
    """Whether an event holds something that is encrypted with its conversation's own key."""
    return bool(words_in(event)) and subject_of(event) == of_conversation(conversation_of(event.session_id))


def of_user(user: str) -> str:
    """Return the subject that a user is: their id on any platform."""
    return f"user:{user}"


def of_conversation(conversation: str) -> str:
    """Return the subject that a conversation is."""
    return f"conversation:{conversation}"


def of_identity(identity: str) -> str:
    """Return the subject that an identity is."""
    return f"identity:{identity}"


def of_parked(parked_id: str) -> str:
    """Return the subject that a parked input is: nobody knows whose it may be."""
    return f"parked:{parked_id}"


def of_archived(session: str) -> str:
    """Return the subject that a session in the archive is."""
    return f"archived:{session}"


def _writer(event: MessageAppended) -> str | None:
    """Return who wrote a message; of one that no person wrote, whom it was sent to. As erasure sees it."""
    if event.message.role is Role.USER and event.actor:
        return event.actor
    return event.message.address.user if event.message.address else None


def _owner(record: Record) -> str:
    match record.kind:
        case RecordKind.CHECKPOINT | RecordKind.COMPONENTS | RecordKind.TRACKED_EVENT:
            session = record.key if record.kind is RecordKind.COMPONENTS else record.group
            conversation = session.partition(".")[0]
            return of_conversation(conversation) if is_conversation(conversation) else f"state:{record.key}"
        case RecordKind.IDENTITY:
            return of_identity(str(record.data.get("identity", record.key)))
        case _:
            return "store"


# Encrypting


def words_in(item: Sealable) -> dict[str, Any]:
    """Return what stands in the place of what is encrypted of something; nothing if it says nothing."""
    if isinstance(item, Record) and item.kind in READABLE_RECORDS:
        return {}
    blanks = {name: blank(getattr(item, name)) for name, blank in ENCRYPTED.get(type(item), {}).items()}
    return {name: blank for name, blank in blanks.items() if blank != getattr(item, name)}


def encrypted(item: Item, keys: Mapping[str, DataKey | StoreDamaged]) -> Item:
    """Return something without what it says, which is encrypted. The same if it says nothing, or there are no keys.

    Raises KeyMissing, StoreDamaged, if its key can't be had.
    """
    if not keys or not (blanks := words_in(item)):
        return item
    key = keys[subject_of(item)]
    if isinstance(key, StoreDamaged):
        raise key
    plain = item.model_dump_json(include=set(blanks)).encode()
    return item.model_copy(update=blanks | {"sealed": sealed_with(key, plain, _place(item))})


def decrypted(item: Item, keys: Mapping[str, Opened], what: str, **details: Any) -> Item:
    """Return something with what it says; without, if the key was destroyed. The same if nothing is encrypted.

    Raises StoreDamaged, KeyMissing: naming `what` it is.
    """
    if item.sealed is None:
        return item
    plain = opened(item.sealed, keys, _place(item), what, **details)
    if plain is None:
        return item.model_copy(update={"sealed": None} | ({"conflicts": ()} if isinstance(item, SessionState) else {}))
    try:
        words = _words(type(item)).model_validate_json(plain, extra="ignore")
    except ValueError:
        raise StoreDamaged(f"{what} says what this release can't read: {RESTORE}", **details) from None
    found = {name: getattr(words, name) for name in words.model_fields_set}
    return item.model_copy(update=found | {"sealed": None})


def _place(item: Sealable) -> str:
    """Return what a ciphertext is bound to: at any other place it can't be decrypted."""
    match item:
        case SessionState():
            return json.dumps(["head", item.session_id, item.sequence])
        case SessionEvent():
            return json.dumps(["event", item.event_id, item.topic])
        case Record():
            return json.dumps(["record", item.kind.value, item.key])
        case _:
            raise TypeError(type(item).__name__)


@cache
def _words(kind: type[BaseModel]) -> type[BaseModel]:
    """Return the model of what is encrypted of one."""
    fields: dict[str, Any] = {name: (kind.model_fields[name].annotation, None) for name in ENCRYPTED[kind]}
    return create_model(f"{kind.__name__}Words", **fields)


def key_of(sealed: str) -> str:
    """Return the name of the key that something is encrypted with."""
    return sealed.partition(":")[0]


def sealed_with(key: DataKey, plain: bytes, place: str) -> str:
    """Return the text that is kept of something encrypted."""
    return f"{key.name}:{base64.b64encode(key.encrypt(plain, place)).decode()}"


def opened(sealed: str, keys: Mapping[str, Opened], place: str, what: str, **details: Any) -> bytes | None:
    """Return what was encrypted; None if its key was destroyed. Raises StoreDamaged, KeyMissing."""
    name, _, text = sealed.partition(":")
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError:
        raise StoreDamaged(f"{what} can't be decrypted: what is kept is no ciphertext: {RESTORE}", **details) from None
    return opened_bytes(name, raw, keys, place, what, **details)


def opened_bytes(
    name: str, raw: bytes, keys: Mapping[str, Opened], place: str, what: str, **details: Any
) -> bytes | None:
    """Return what was encrypted with the key `name`, as `opened` does."""
    key = keys.get(name) or _nowhere(name)
    if isinstance(key, StoreDamaged):
        raise type(key)(f"{what} is encrypted: {key}", **{**key.details, **details})
    if isinstance(key, Destroyed):
        return None
    try:
        return key.decrypt(raw, place)
    except ValueError as error:
        raise StoreDamaged(f"{what} can't be decrypted: {error}: {RESTORE}", **details) from None


def _nowhere(name: str) -> KeyMissing:
    return KeyMissing(
        f"there are no keys here, and the data key {name} is needed: give them by {SETTING}", data_key=name
    )
