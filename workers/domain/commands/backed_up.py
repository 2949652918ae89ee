"""What a restore from a backup causes: commits as they were, or what a session held, brought into what there is."""

from typing import Final

from pydantic import JsonValue, ValidationError

from agentbus.contracts.commands import RestoreCommit, RestoreContent
from agentbus.contracts.errors import EditConflict, LimitExceeded, SessionNotFound, TransitionForbidden
from agentbus.contracts.events import HistoryTrimmed, MessageAppended, ProfileChanged, SessionRestored
from agentbus.contracts.ids import generation_of
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.contracts.stamps import Stamp
from agentbus.contracts.sync import ALL_OPERATIONS, ConflictStrategy
from agentbus.workers.domain.checks.limits import check_fields, check_size
from agentbus.workers.domain.deadlines import has_expired, lasting
from agentbus.workers.domain.draft import Draft
from agentbus.workers.domain.redaction import is_erased
from agentbus.workers.domain.sync.fields import entries_of, registers_of, with_fields
from agentbus.workers.domain.sync.merging import merge_fields, order_of

_GONE: Final = frozenset({SessionStatus.ARCHIVED, SessionStatus.DELETED})


def restore_commit(draft: Draft, state: SessionState, command: RestoreCommit) -> None:
    """Let the events of a commit have happened, unless the conversation has one of its version already.

    Refused if anything else happened since the restore began: what follows then is another history.
    """
    commit = command.commit
    if commit.conversation_id != state.conversation_id:
        raise EditConflict(f"the commit is one of conversation {commit.conversation_id}")
    if commit.version <= state.version:
        return
    last = state.recent_inputs[-1] if state.recent_inputs else None
    if commit.version > state.version + 1 or last != command.after:
        raise EditConflict(
            f"conversation {state.conversation_id} has {state.version} commits, and other ones than those before "
            f"commit {commit.version} of the backup: something happened in it meanwhile"
        )
    place = state.generation, state.sequence
    for event in commit.events:
        generation = generation_of(event.session_id)
        if (generation, event.sequence) <= place or (is_erased(state) and generation <= state.generation):
            raise EditConflict(f"session {event.session_id} has gone on, or was erased: it is not brought back")
        place = generation, event.sequence
    draft.events.extend(commit.events)


def restore_content(draft: Draft, state: SessionState, command: RestoreContent) -> None:
    """Bring messages and fields of a session's backup into it, or in the place of what it has.

    Raises SessionNotFound for one that was erased, TransitionForbidden for what it can't become, LimitExceeded.
    """
    session = state
    if command.session_id not in (None, state.session_id):
        session = draft.earlier.get(command.session_id) or state
    if is_erased(session) or (command.session_id is not None and session.session_id != command.session_id):
        raise SessionNotFound(f"session {command.session_id} is not there, or was erased")
    if session.archive is not None and session.status is SessionStatus.ARCHIVED:
        raise TransitionForbidden(f"session {session.session_id} is in the archive: restore it from there")
    if command.replace and command.begins and session is state and state.shown_from <= state.sequence:
        draft.add(HistoryTrimmed, before=state.sequence + 1)
    if command.messages and session is not state:
        raise TransitionForbidden(f"session {session.session_id} has ended for good: messages go into the latest one")
    for one in command.messages:
        draft.add(MessageAppended, actor=one.actor, message=one.message, source=one.source, restored=True)
    if command.status is not None:
        _restore(draft, state, session, command, command.status)


def _restore(
    draft: Draft, state: SessionState, session: SessionState, command: RestoreContent, status: SessionStatus
) -> None:
    """Say what a session is from now on."""
    if status in _GONE or (status.is_live and session is not state):
        raise TransitionForbidden(f"session {session.session_id} can't come back as {status}")
    data, metadata, stamps = _fields(session, command)
    check_size("data", data)
    check_size("metadata", metadata)
    check_fields(stamps)
    draft.add(
        SessionRestored,
        restored=session.session_id,
        status=status,
        data=data,
        metadata=metadata,
        stamps=stamps,
        conflicts=() if command.replace else session.conflicts,
        turned_down=session.turned_down,
    )
    if session is not state:
        return
    profile = command.profile or state.profile
    if has_expired(state.model_copy(update={"status": status, "profile": profile}), draft.at):
        # Its end came while it was away: it would be over again with the next input.
        profile = lasting(profile, draft.at)
    if profile != state.profile:
        draft.add(ProfileChanged, profile=profile)


def _fields(
    session: SessionState, command: RestoreContent
) -> tuple[dict[str, JsonValue], dict[str, JsonValue], dict[str, Stamp]]:
    """Return data, metadata and their stamps: those of the backup, or of both the later ones."""
    kept = {"data": command.data, "metadata": command.metadata, "stamps": command.stamps}
    if command.replace or session.status is SessionStatus.DELETED:
        return command.data, command.metadata, command.stamps
    try:
        offered = entries_of(session.model_copy(update=kept))
    except ValidationError as error:
        raise LimitExceeded(f"a field of the backup is none that a session may have: {error}") from None
    order = order_of(ConflictStrategy.LATEST_WINS, ())
    merged = merge_fields(registers_of(session), offered, order, ALL_OPERATIONS)
    return with_fields(session, merged.applied, whole=False)
