"""What the commands cause that end a session, put it away, bring it back, or forget it."""

from typing import Final

from agentbus.contracts.commands import ArchiveSession, DeleteSession, EraseConversation, ExpireSession, RestoreSession
from agentbus.contracts.errors import EditConflict, SessionNotFound, TransitionForbidden
from agentbus.contracts.events import (
    ConversationErased,
    ExpiryStepTaken,
    ProfileChanged,
    SessionArchived,
    SessionDeleted,
    SessionRestored,
)
from agentbus.contracts.expiry import CleanupAction, ExpiryProgress
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.contracts.tracking import StateTransitionType
from agentbus.workers.domain.checks.limits import check_conflicts, check_fields, check_size
from agentbus.workers.domain.checks.states import Asked, is_open
from agentbus.workers.domain.deadlines import has_expired, lasting
from agentbus.workers.domain.draft import Draft
from agentbus.workers.domain.replies import give_up

_GONE: Final = frozenset({SessionStatus.ARCHIVED, SessionStatus.DELETED})


def delete_session(draft: Draft, state: SessionState, command: DeleteSession) -> None:
    """Delete a session, once: of several who do so at once the later ones find none."""
    session = _target(draft, state, command)
    if session is None or session.status is SessionStatus.DELETED:
        raise SessionNotFound(f"session {command.session_id} was deleted")
    _delete(draft, state, session)


def expire_session(draft: Draft, state: SessionState, command: ExpireSession) -> None:
    """Take a step of an expiry rule, unless something has happened since it was decided, or it was taken already.

    A session that has ended can still be archived and deleted; what else a rule has for it then is only noted, and so
    is a suspension to which the state machine has no open way.
    """
    session = _target(draft, state, command)
    if session is None or session.status is SessionStatus.DELETED:
        return
    if session.sequence != command.seen or _was_taken(session.expiry, command):
        return
    draft.add(
        ExpiryStepTaken,
        rule_id=command.rule_id,
        step=command.step,
        action=command.action,
        next_at=command.next_at,
        earlier=None if session is state else session.session_id,
    )
    if command.step >= 0:
        _act(draft, state, session, command)


def archive_session(draft: Draft, state: SessionState, command: ArchiveSession) -> None:
    """Say that a session is in the archive. Refused if it is live, or anything happened after what is there."""
    session = _target(draft, state, command)
    if session is None or session.status is SessionStatus.DELETED:
        raise SessionNotFound(f"there is no session {command.session_id} to archive: it was deleted")
    if session.is_live:
        raise TransitionForbidden(f"session {session.session_id} is {session.status}: it is archived once it has ended")
    if session.archive is not None:
        return
    if session.sequence != command.archive.sequence:
        raise EditConflict(
            f"session {session.session_id} has {session.sequence} events, {command.archive.sequence} are in the "
            "archive: archive it again"
        )
    give_up(draft, state, session.session_id, "its session was archived")
    draft.add(SessionArchived, archive=command.archive, archived=session.session_id)


def restore_session(draft: Draft, state: SessionState, command: RestoreSession) -> None:
    """Bring an archived session back. Refused if it is not archived, or was from something else than it comes from."""
    session = _target(draft, state, command)
    if session is None or session.archive is None or session.status is not SessionStatus.ARCHIVED:
        raise TransitionForbidden(f"session {command.session_id or state.session_id} is not in the archive")
    if session.archive.digest != command.digest:
        raise EditConflict(f"session {session.session_id} was archived as {session.archive.digest}, not this")
    if command.status in _GONE or (command.status.is_live and session is not state):
        raise TransitionForbidden(f"session {session.session_id} can't come back as {command.status}")
    check_size("data", command.data)
    check_size("metadata", command.metadata)
    check_fields(command.stamps)
    conflicts = command.conflicts or ()
    check_conflicts(conflicts)
    draft.add(
        SessionRestored,
        restored=session.session_id,
        status=command.status,
        data=command.data,
        metadata=command.metadata,
        stamps=command.stamps,
        conflicts=conflicts,
        turned_down=command.turned_down or (),
    )
    if session is state and has_expired(state.model_copy(update={"status": command.status}), draft.at):
        # Its end came while it was away: it would be over again with the next input.
        draft.add(ProfileChanged, profile=lasting(state.profile, draft.at))


def erase_conversation(draft: Draft, state: SessionState, _command: EraseConversation) -> None:
    """Forget all that the conversation's sessions hold; the event itself names nobody."""
    if not (state.erased and state.status is SessionStatus.DELETED):
        draft.identity = None
        draft.add(ConversationErased, actor=None)


def _target(
    draft: Draft, state: SessionState, command: DeleteSession | ExpireSession | ArchiveSession | RestoreSession
) -> SessionState | None:
    """Return the session that a command is for."""
    if command.session_id in (None, state.session_id):
        return state
    return draft.earlier.get(command.session_id) if command.session_id else None


def _was_taken(progress: ExpiryProgress | None, command: ExpireSession) -> bool:
    return progress is not None and progress.rule_id == command.rule_id and progress.step >= command.step


def _delete(draft: Draft, state: SessionState, session: SessionState) -> None:
    give_up(draft, state, session.session_id, "its session was deleted")
    draft.add(SessionDeleted, deleted=session.session_id)


def _act(draft: Draft, state: SessionState, session: SessionState, command: ExpireSession) -> None:
    match command.action:
        case CleanupAction.DELETE:
            _delete(draft, state, session)
        case CleanupAction.SUSPEND if session.is_live and session.status is not SessionStatus.SUSPENDED:
            asked = Asked(now=draft.at, type=StateTransitionType.TIMEOUT, actor=command.actor)
            if is_open(draft.machine, session, SessionStatus.SUSPENDED, asked):
                draft.move(session, SessionStatus.SUSPENDED, command.rule_id)
        case CleanupAction.EXPIRE | CleanupAction.ARCHIVE | CleanupAction.MERGE if session.is_live:
            draft.move(session, SessionStatus.EXPIRED, command.rule_id)
        case _:
            pass
