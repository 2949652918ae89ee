"""What of an event others get to see."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from agentbus.contracts.events import (
    AnyEvent,
    Commit,
    ConflictOpened,
    ConflictResolved,
    ContextMerged,
    DataSet,
    MessageAppended,
    MessageEdited,
    MetadataSet,
    SessionRestored,
    SessionStarted,
)
from agentbus.contracts.ids import MessageKey
from agentbus.contracts.messages import TextContent
from agentbus.contracts.secrets import without_secrets
from agentbus.contracts.sync import Conflict, Entry
from agentbus.workers.domain.sync.fields import keys_of


def announced(event: AnyEvent, secret_keys: Collection[str]) -> AnyEvent:
    """Return `event` as it is announced: values whose key is a secret's are in the log alone."""
    cleaned: dict[str, Any] = {}
    match event:
        case MessageAppended():  # what most are comes first
            return event
        case DataSet() | MetadataSet():
            bases = {field: stamp for field, stamp in event.bases.items() if not _is_secret(field, secret_keys)}
            cleaned = {"values": _shown(event.values, secret_keys), "bases": bases}
        case SessionStarted() | SessionRestored():
            cleaned = {"data": _shown(event.data, secret_keys), "metadata": _shown(event.metadata, secret_keys)}
            if isinstance(event, SessionRestored):
                cleaned["conflicts"] = _conflicts(event.conflicts, secret_keys)
        case ContextMerged():
            cleaned = {"applied": _entries(event.applied, secret_keys), "kept": _entries(event.kept, secret_keys)}
        case ConflictOpened():
            cleaned = {"conflicts": _conflicts(event.conflicts, secret_keys)}
        case ConflictResolved():
            cleaned = {"entries": _entries(event.entries, secret_keys)}
    return event.model_copy(update=cleaned) if cleaned else event


def is_news(event: AnyEvent, commit: Commit | None = None) -> bool:
    """Whether an event is to be announced: what a restore brought back was, when it happened."""
    restored = isinstance(event, MessageAppended) and event.restored
    return not restored and (commit is None or commit.restored is None)


def taken_back(event: AnyEvent, gone: Collection[MessageKey]) -> AnyEvent:
    """Return `event` as whoever missed it gets to see it: messages that are gone by now say nothing any more."""
    match event:
        case MessageAppended() if event.message.key in gone:
            message = event.message.model_copy(update={"content": TextContent()})
            return event.model_copy(update={"message": message})
        case MessageEdited() if event.target in gone:
            return event.model_copy(update={"text": "", "attachments": ()})
    return event


def _shown(values: Mapping[str, Any], secret_keys: Collection[str]) -> dict[str, Any]:
    """Return values without secrets, and without the objects that held nothing else: empty ones would be news."""
    return _filled(values, without_secrets(values, secret_keys))


def _filled(values: Mapping[str, Any], cleaned: Mapping[str, Any]) -> dict[str, Any]:
    shown = {key: _filled(values[key], value) if isinstance(value, dict) else value for key, value in cleaned.items()}
    return {key: value for key, value in shown.items() if value != {} or values[key] == {}}


def _entries(entries: Iterable[Entry], secret_keys: Collection[str]) -> tuple[Entry, ...]:
    return tuple(_entry(entry, secret_keys) for entry in entries if not _is_secret(entry.field, secret_keys))


def _entry(entry: Entry, secret_keys: Collection[str]) -> Entry:
    """Return an entry whose value, if it is a list of objects, has no secrets."""
    return entry.model_copy(update={"value": without_secrets({"": entry.value}, secret_keys)[""]})


def _conflicts(conflicts: Iterable[Conflict], secret_keys: Collection[str]) -> tuple[Conflict, ...]:
    return tuple(
        one.model_copy(
            update={
                "held": one.held and _entry(one.held, secret_keys),
                "offered": _entry(one.offered, secret_keys),
            }
        )
        for one in conflicts
        if not _is_secret(one.field, secret_keys)
    )


def _is_secret(field: str, secret_keys: Collection[str]) -> bool:
    """Whether one of the keys that lead to a field is a secret's."""
    keys = dict.fromkeys(keys_of(field)[1:])
    return len(without_secrets(keys, secret_keys)) < len(keys)
