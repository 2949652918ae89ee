"""What the commands of linked conversations cause."""

from datetime import datetime
from typing import Any

from agentbus.contracts.commands import AmendCopy, LinkIdentity, MergeContext, ResolveConflict, UnlinkIdentity
from agentbus.contracts.errors import IdentityConflict
from agentbus.contracts.events import (
    ConflictOpened,
    ConflictResolved,
    ContextMerged,
    IdentityLinked,
    IdentityUnlinked,
    MessageAppended,
    MessageDeleted,
    MessageEdited,
)
from agentbus.contracts.ids import MessageKey, conversation_of
from agentbus.contracts.session import SessionState
from agentbus.contracts.sync import Conflict, ConflictStrategy, Entry
from agentbus.workers.domain.checks.limits import check_conflicts, check_fields, check_size
from agentbus.workers.domain.draft import Draft
from agentbus.workers.domain.redaction import is_erased
from agentbus.workers.domain.sync.conflicts import weigh, with_opened
from agentbus.workers.domain.sync.fields import key_of, registers_of, with_fields
from agentbus.workers.domain.sync.merging import WHOLE_KEYS, Merged, Told, merge_fields, merge_keys, order_of, seen_of
from agentbus.workers.domain.sync.resolving import chosen


def link_identity(draft: Draft, state: SessionState, command: LinkIdentity) -> None:
    """Link the conversation. Raises IdentityConflict if it is linked to another identity."""
    if state.identity == command.identity:
        return
    if state.identity is not None:
        raise IdentityConflict(f"conversation {state.conversation_id} is linked to another identity: unlink it first")
    draft.identity = command.identity
    draft.add(IdentityLinked, linked=command.identity)


def unlink_identity(draft: Draft, state: SessionState, command: UnlinkIdentity) -> None:
    """Unlink the conversation, if it is linked to this identity."""
    if state.identity == command.identity:
        draft.add(IdentityUnlinked, unlinked=command.identity)
        draft.identity = None


def merge_context(draft: Draft, state: SessionState, command: MergeContext) -> None:
    """Bring in what a linked session has.

    Nothing happens if the session it was for is over, or the link. Raises LimitExceeded if the session would grow too
    large. A stamp is never refused for the clock that it comes from: who has that value has it, and all that is written
    after it is later; a session that did not take it would differ for as long as the clock was wrong.
    """
    current = command.session_id in (None, state.session_id)
    if not (current and state.is_live and state.identity == command.identity):
        return
    if command.entries:
        _merge_fields(draft, state, command)
    for message in command.messages:
        draft.add(MessageAppended, message=message, source=command.source)


def amend_copy(draft: Draft, state: SessionState, command: AmendCopy) -> None:
    """Say what became of a message that copies were made of, in whichever session of the conversation they are.

    Linked or not any more, live or over: what was taken back is to stay nowhere. Nothing is said in what was erased.
    """
    if is_erased(state):
        return
    what: dict[str, Any] = {"target": MessageKey(command.target), "source": command.source}
    if command.text is None:
        draft.add(MessageDeleted, **what)
    else:
        what |= {"text": command.text, "attachments": command.attachments, "source_version": command.version}
        draft.add(MessageEdited, **what)


def resolve_conflict(draft: Draft, state: SessionState, command: ResolveConflict) -> None:
    """Resolve open conflicts; nothing happens where there is none."""
    fields = set(command.fields) or {one.field for one in state.conflicts}
    if not any(one.field in fields for one in state.conflicts):
        return
    entries = chosen(state, fields, command.resolution, draft.stamp())
    _check(state, entries, whole=False)
    draft.add(ConflictResolved, entries=entries)


def _merge_fields(draft: Draft, state: SessionState, command: MergeContext) -> None:
    (applied, kept), opened = _outcome(state, command, draft.at)
    if applied:
        _check(state, applied, whole=command.strategy in WHOLE_KEYS)
    if applied or kept:
        draft.add(ContextMerged, source=command.source, strategy=command.strategy, applied=applied, kept=kept)
    if opened:
        check_conflicts(with_opened(state.conflicts, opened))
        draft.add(ConflictOpened, conflicts=opened)


def _outcome(state: SessionState, command: MergeContext, now: datetime) -> tuple[Merged, tuple[Conflict, ...]]:
    if command.strategy is ConflictStrategy.MANUAL:
        weighed = weigh(state, command, now)
        return Merged(weighed.applied), weighed.opened
    held = registers_of(state, {key_of(entry.field) for entry in command.entries})
    order = order_of(command.strategy, command.priority)
    if command.strategy is ConflictStrategy.MERGE:
        return merge_fields(held, command.entries, order, command.operations), ()
    told = None
    if command.strategy is ConflictStrategy.SOURCE_PRIORITY:
        told = Told(conversation_of(command.source), seen_of(state.turned_down))
    return merge_keys(held, command.entries, order, command.operations, told), ()


def _check(state: SessionState, entries: tuple[Entry, ...], *, whole: bool) -> None:
    data, metadata, stamps = with_fields(state, entries, whole=whole)
    check_size("data", data)
    check_size("metadata", metadata)
    check_fields(stamps)
