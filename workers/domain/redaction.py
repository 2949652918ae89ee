"""What stays of a commit, of a head and of an input's id once a user was erased.

A conversation of their own keeps its versions and digests of its inputs, nothing else. In a conversation that others
write in too, the user's messages keep their place without text and author, and their ids become pseudonyms.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from agentbus.contracts.base import MAX_ID_LENGTH
from agentbus.contracts.events import (
    AnyEvent,
    Commit,
    ConflictOpened,
    ConflictResolved,
    ContextMerged,
    ConversationErased,
    DataSet,
    MessageAppended,
    MessageEdited,
    MetadataSet,
    ProfileChanged,
    ReactionChanged,
    ReplyFailed,
    ReplyRequested,
    ReplySent,
    ReplyUnchanged,
    ReplyUnknown,
    SessionRestored,
    SessionStarted,
)
from agentbus.contracts.ids import (
    ConversationId,
    InputId,
    MessageKey,
    SessionId,
    conversation_of,
    digest_of,
    generation_of,
)
from agentbus.contracts.messages import Role, SessionMessage, TextContent
from agentbus.contracts.profile import Profile, no_profile
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.contracts.stamps import origin_of
from agentbus.contracts.sync import Conflict
from agentbus.workers.domain.pseudonyms import renamed

ERASED_PREFIX: Final = "erased:"
"""What the digest form of an input's id begins with."""

REACTION: Final = "erased"
"""What a reaction of an erased user reads as."""

_CONTENTS: Final[dict[type[AnyEvent], dict[str, Any]]] = {
    SessionStarted: {"data": {}, "metadata": {}},
    SessionRestored: {"data": {}, "metadata": {}, "stamps": {}, "conflicts": (), "turned_down": ()},
    DataSet: {"values": {}, "removed": (), "bases": {}},
    MetadataSet: {"values": {}, "removed": (), "bases": {}},
    ContextMerged: {"applied": (), "kept": ()},
    ConflictOpened: {"conflicts": ()},
    ConflictResolved: {"entries": ()},
}
"""What events say about data and metadata, emptied."""


def digest_input(input_id: InputId) -> InputId:
    """Return the digest form of an input's id: repeats are recognised by it, and it tells nothing. Idempotent."""
    if input_id.startswith(ERASED_PREFIX):
        return input_id
    return InputId(ERASED_PREFIX + digest_of((input_id,)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Whose traces are taken out of a conversation that is not theirs alone."""

    pseudonyms: dict[str, str]
    """What stands in the place of each of their ids."""
    keys: frozenset[MessageKey] = frozenset()
    """Their messages in this conversation."""
    conversations: frozenset[ConversationId] = frozenset()
    """Conversations that are erased whole: what was copied from them goes too."""
    owns: bool = False
    """Whether a session of this conversation was theirs: then its data and metadata go too."""
    known: frozenset[str] = field(init=False)
    """Their ids and their pseudonyms: both tell a message of theirs."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "known", frozenset(self.pseudonyms) | frozenset(self.pseudonyms.values()))

    def concerned(self, event: MessageAppended) -> bool:
        """Whether a message is theirs: written by them, or an answer that was sent to them."""
        return writer_of(event) in self.known

    def names(self, text: str) -> bool:
        """Whether a text holds one of their ids."""
        return any(one in text for one in self.pseudonyms)

    def unnamed(self, text: str) -> str:
        """Return somebody's name for a thing, or a digest of it if it holds one of their ids."""
        return digest_of((text,)) if self.names(text) else text

    def input(self, input_id: InputId) -> InputId:
        """Return an input's id, in its digest form if it holds one of their ids."""
        return digest_input(input_id) if self.names(input_id) else input_id


def scrub(commit: Commit, subject: Subject) -> Commit:
    """Return a commit without the subject's text and ids; the same one if it holds none. Idempotent."""
    events = tuple(_scrubbed(event, subject) for event in commit.events)
    inputs = _each(subject, commit.inputs)
    if inputs == commit.inputs and events == commit.events:
        return commit
    return commit.model_copy(update={"inputs": inputs, "events": events})


def emptied(commit: Commit, generation: int) -> Commit:
    """Return a commit of an erased conversation: without the events of its sessions up to `generation`. Idempotent.

    The mark that it was erased stays: a head that is behind its log is brought up to it by that.
    """
    events = tuple(kept for event in commit.events if (kept := _left(event, generation)))
    inputs = tuple(digest_input(one) for one in commit.inputs)
    if inputs == commit.inputs and events == commit.events:
        return commit
    return commit.model_copy(update={"inputs": inputs, "events": events})


class Written:
    """Which keys of a session's data and metadata the subject was the last to set, by the events in their order."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._keys: dict[SessionId, set[tuple[str, str]]] = {}

    def add(self, commit: Commit) -> None:
        """Take up the next commit."""
        for event in commit.events:
            if isinstance(event, DataSet | MetadataSet):
                part = "data" if isinstance(event, DataSet) else "metadata"
                keys = self._keys.setdefault(event.session_id, set())
                keys -= {(part, key) for key in (*event.values, *event.removed)}
                if event.actor in self._subject.known:
                    # What they set and was emptied by now (`_changes`) reads as if they had taken the key away.
                    keys |= {(part, key) for key in (*event.values, *event.removed)}

    def taken_out(self, session: SessionId, values: dict[str, Any]) -> dict[str, Any]:
        """Return those of `values["data"]` and `values["metadata"]` that change, without these keys."""
        found = self._keys.get(session, set())
        changed: dict[str, Any] = {}
        for part in ("data", "metadata"):
            held = values.get(part)
            if isinstance(held, dict) and any((part, key) in found for key in held):
                changed[part] = {key: value for key, value in held.items() if (part, key) not in found}
        return changed


def without_written(commit: Commit, written: Written) -> Commit:
    """Return a commit without what the subject set in sessions that it says were restored; the same one if nothing."""
    events = tuple(_without_written(event, written) for event in commit.events)
    return commit if events == commit.events else commit.model_copy(update={"events": events})


def _without_written(event: AnyEvent, written: Written) -> AnyEvent:
    if not isinstance(event, SessionRestored):
        return event
    changes = written.taken_out(event.restored, {"data": event.data, "metadata": event.metadata})
    return event.model_copy(update=changes) if changes else event


def scrub_head(
    head: SessionState, subject: Subject, *, digested: bool = False, written: Written | None = None
) -> SessionState:
    """Return a head without the subject's text and ids; the same one if it holds none. Idempotent.

    What they set in the session goes too, as `written` tells it.

    Where an input's id became a digest, in the log (`digested`) or here, the conversation counts as one that something
    was erased from: its log is asked for every input, by both forms.
    """
    head = _without_data(head) if subject.owns else _without_copies(head, subject.conversations)
    changes: dict[str, Any] = {}
    if (recent := _each(subject, head.recent_inputs)) != head.recent_inputs:
        changes["recent_inputs"] = recent
    if head.blocked_by and (blocker := subject.input(head.blocked_by)) != head.blocked_by:
        changes["blocked_by"] = blocker
    if (waiting := _each(subject, head.waiting)) != head.waiting:
        changes["waiting"] = waiting
    if (changes or digested) and not head.erased:
        changes["erased"] = True
    if any(one.message_id and subject.names(one.message_id) for one in head.replies):
        changes["replies"] = tuple(
            one.model_copy(update={"message_id": subject.unnamed(one.message_id)}) if one.message_id else one
            for one in head.replies
        )
    if written is not None:
        changes |= written.taken_out(head.session_id, {"data": head.data, "metadata": head.metadata})
    return renamed(head.model_copy(update=changes) if changes else head, subject.pseudonyms)


def tombstone(head: SessionState) -> SessionState:
    """Return the head of a session that was erased. Idempotent."""
    changes: dict[str, Any] = {
        "status": SessionStatus.DELETED,
        "state": None,
        "address": None,
        "data": {},
        "metadata": {},
        "profile": no_profile(),
        "identity": None,
        "stamps": {},
        "conflicts": (),
        "turned_down": (),
        "expiry": None,
        "archive": None,
        "erased": True,
        "blocked_by": digest_input(head.blocked_by) if head.blocked_by else None,
        "waiting": tuple(digest_input(one) for one in head.waiting),
        "replies": (),
        "recent_inputs": tuple(digest_input(one) for one in head.recent_inputs),
    }
    return head.model_copy(update=changes)


def is_erased(head: SessionState) -> bool:
    """Whether a session is gone from a conversation that was erased."""
    return head.erased and head.status is SessionStatus.DELETED


def _left(event: AnyEvent, generation: int) -> AnyEvent | None:
    if generation_of(event.session_id) > generation:
        return event
    if isinstance(event, ConversationErased):
        return event.model_copy(
            update={"identity": None, "actor": None, "by": None, "cause": digest_input(event.cause)}
        )
    return None


def _each(subject: Subject, inputs: Iterable[InputId]) -> tuple[InputId, ...]:
    return tuple(subject.input(one) for one in inputs)


def _scrubbed(event: AnyEvent, subject: Subject) -> AnyEvent:
    changes = _changes(event, subject)
    if (cause := subject.input(event.cause)) != event.cause:
        changes["cause"] = cause
    return renamed(event.model_copy(update=changes) if changes else event, subject.pseudonyms)


def _changes(event: AnyEvent, subject: Subject) -> dict[str, Any]:
    """Return what of an event is the subject's own words, emptied."""
    changes: dict[str, Any] = dict(_CONTENTS.get(type(event), {})) if subject.owns else {}
    match event:
        case MessageAppended(message=message):
            if _is_of(event.source, subject) or subject.concerned(event):
                changes = {"message": _silenced(message, subject)}
        case MessageEdited(target=target, source=source) if target in subject.keys or _is_of(source, subject):
            changes = {"text": "", "attachments": ()}
        case ReactionChanged(user=user) if user in subject.known:
            changes = {"reaction": REACTION}
        case DataSet() | MetadataSet() if event.actor in subject.known and not subject.owns:
            # As if they had taken the keys away: what stood there before must not come back.
            changes = {"values": {}, "removed": tuple(dict.fromkeys((*event.removed, *event.values)))}
        case ReplyFailed(reason=reason) | ReplyUnknown(reason=reason) | ReplyUnchanged(reason=reason) if subject.names(
            reason
        ):
            changes = {"reason": ""}
        case ReplyRequested(reacts_to=str(known)) if subject.names(known):
            changes = {"reacts_to": subject.unnamed(known)}
        case ReplySent(message_ids=ids) if any(subject.names(one) for one in ids):
            changes = {"message_ids": tuple(subject.unnamed(one) for one in ids)}
        case ContextMerged(source=source) if conversation_of(source) in subject.conversations:
            changes = {"applied": (), "kept": ()}
        case ConflictOpened(conflicts=conflicts) if not subject.owns:
            changes = {"conflicts": _of_others(conflicts, subject.conversations)}
        case SessionRestored(conflicts=conflicts) if not subject.owns:
            changes = {"conflicts": _of_others(conflicts, subject.conversations)}
        case _:
            pass
    return changes


def _is_of(source: SessionId | None, subject: Subject) -> bool:
    """Whether something comes from a conversation that is erased whole."""
    return source is not None and conversation_of(source) in subject.conversations


def _silenced(message: SessionMessage, subject: Subject) -> SessionMessage:
    """Return a message that says nothing; what it answers to goes too."""
    message_id = subject.unnamed(message.message_id)
    update = {"author": None, "content": TextContent(), "message_id": message_id[:MAX_ID_LENGTH]}
    return message.model_copy(update=update)


def _without_data(head: SessionState) -> SessionState:
    if not (head.data or head.metadata or head.stamps or head.conflicts or head.turned_down):
        return head
    return head.model_copy(update={"data": {}, "metadata": {}, "stamps": {}, "conflicts": (), "turned_down": ()})


def _without_copies(head: SessionState, conversations: frozenset[ConversationId]) -> SessionState:
    """Take out the fields that were written in conversations that are erased."""
    gone = [pointer for pointer, stamp in head.stamps.items() if origin_of(stamp) in conversations]
    conflicts = _of_others(head.conflicts, conversations)
    turned_down = tuple(one for one in head.turned_down if origin_of(one.stamp) not in conversations)
    if not gone and conflicts == head.conflicts and turned_down == head.turned_down:
        return head
    whole: Any = {"data": head.data, "metadata": head.metadata}
    for pointer in gone:
        whole = _without(whole, [_unescaped(part) for part in pointer.split("/")[1:]])
    stamps = {pointer: stamp for pointer, stamp in head.stamps.items() if pointer not in gone}
    left = {"stamps": stamps, "conflicts": conflicts, "turned_down": turned_down}
    return head.model_copy(update={**whole, **left})


def _of_others(conflicts: Iterable[Conflict], conversations: frozenset[ConversationId]) -> tuple[Conflict, ...]:
    return tuple(one for one in conflicts if conversation_of(one.source) not in conversations)


def _without(value: Any, path: list[str]) -> Any:
    """Return a JSON value without what is at a path, if there is anything."""
    if not isinstance(value, dict) or path[0] not in value:
        return value
    if len(path) == 1:
        return {key: item for key, item in value.items() if key != path[0]}
    return {**value, path[0]: _without(value[path[0]], path[1:])}


def _unescaped(part: str) -> str:
    return part.replace("~1", "/").replace("~0", "~")


def people_of(of: Commit | SessionState) -> frozenset[str]:
    """Return the ids of users that a commit or a head names: authors, owners, those shared with, who acted."""
    if isinstance(of, SessionState):
        address = {of.address.user} if of.address else set()
        return frozenset(address | _of_profile(of.profile))
    return frozenset(person for event in of.events for person in _of_event(event))


def authors_of(commit: Commit) -> frozenset[str]:
    """Return the ids of those who wrote the commit's messages; the bot's own are not counted."""
    messages = (event for event in commit.events if isinstance(event, MessageAppended))
    writers = (writer_of(event) for event in messages if event.message.role is Role.USER)
    return frozenset(writer for writer in writers if writer)


def writer_of(event: MessageAppended) -> str | None:
    """Return who wrote a message; of one that no person wrote, whom it was sent to."""
    if event.message.role is Role.USER and event.actor:
        return event.actor
    return event.message.address.user if event.message.address else None


def _of_event(event: AnyEvent) -> set[str]:
    found = {event.actor} if event.actor else set()
    if event.by and event.by.user:
        found.add(event.by.user)
    match event:
        case MessageAppended(message=message) if message.address:
            found.add(message.address.user)
        case ReactionChanged(user=user) if user != Role.ASSISTANT:
            found.add(user)
        case ReplyRequested(to=to):
            found.add(to.user)
        case SessionStarted(address=address, profile=profile):
            found |= _of_profile(profile) | ({address.user} if address else set())
        case ProfileChanged(profile=profile, user=user):
            found |= _of_profile(profile) | ({user} if user else set())
        case _:
            pass
    return found


def _of_profile(profile: Profile) -> set[str]:
    return {*profile.shares, *([profile.owner] if profile.owner else [])}
