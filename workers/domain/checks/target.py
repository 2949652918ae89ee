"""Which session a command is for, and whether that session takes it."""

from collections.abc import Mapping
from typing import Final

from contracts.commands import (
    AmendCopy,
    AnyCommand,
    ApplyDeadlines,
    ArchiveSession,
    ChangeState,
    CreateSession,
    DeleteMessage,
    DeleteSession,
    EditMessage,
    EraseConversation,
    ExpireSession,
    LinkIdentity,
    MergeContext,
    ResetSession,
    RestoreSession,
    UnblockSession,
    UnlinkIdentity,
)
from contracts.errors import LockLost, SessionNotCurrent, SessionNotFound, TargetNotFound
from contracts.ids import SessionId, conversation_of, generation_of
from contracts.messages import InboundMessage
from contracts.session import SessionState, SessionStatus
from workers.domain.redaction import is_erased

_FOR_DELETED: Final = (AmendCopy, EraseConversation, ExpireSession, MergeContext, ResetSession, UnlinkIdentity)
_FOR_ENDED: Final = (
    *_FOR_DELETED,
    ApplyDeadlines,
    ArchiveSession,
    ChangeState,
    DeleteMessage,
    DeleteSession,
    EditMessage,
    LinkIdentity,
    RestoreSession,
    UnblockSession,
)
_FOR_EARLIER: Final = (
    AmendCopy,
    ArchiveSession,
    DeleteSession,
    ExpireSession,
    LinkIdentity,
    MergeContext,
    RestoreSession,
    UnlinkIdentity,
)
"""What is done to an earlier session, or to the conversation whichever of its sessions is named."""

_BY_HEAD: Final = (ArchiveSession, DeleteSession, ExpireSession, RestoreSession)


def check_target(state: SessionState, command: AnyCommand) -> None:
    """Hold a command to the session it names; all but CreateSession need one to be there."""
    if isinstance(command, CreateSession):
        return
    if not state.generation:
        raise SessionNotFound(f"conversation {state.conversation_id} has no session")
    if command.session_id and command.session_id != state.session_id:
        _check_earlier(state, command)
        return
    if state.status is SessionStatus.DELETED and not isinstance(command, _FOR_DELETED):
        raise SessionNotFound(f"session {state.session_id} was deleted")
    if not (state.is_live or isinstance(command, _FOR_ENDED)):
        raise SessionNotFound(f"session {state.session_id} is {state.status}; create or reset it to go on")


def check_parent(state: SessionState, command: CreateSession, others: Mapping[SessionId, SessionState]) -> None:
    """Raise SessionNotFound if the parent of a session that is to begin was deleted since its creation was asked for.

    A parent that nothing is known of was not deleted: what is gone keeps its head.
    """
    named = command.profile.parent_id
    if named is None:
        return
    parent = state if state.generation and state.session_id == named else others.get(named)
    if parent is not None and parent.status is SessionStatus.DELETED:
        raise SessionNotFound(f"session {named}, which was to be the parent, was deleted")


def check_target_there(state: SessionState, target: str) -> None:
    """Raise TargetNotFound if there is nothing in the conversation that an edit, deletion or reaction may be about.

    Whether it holds that very message is not asked: it may come later, and what is about none shows nowhere.
    """
    if not state.generation or is_erased(state):
        raise TargetNotFound(
            f"conversation {state.conversation_id} has no message {target}: "
            "target_user is to say whose it is, unless it is theirs who sent this"
        )


def about_another(state: SessionState, data: InboundMessage | AnyCommand) -> SessionId | None:
    """Return the session whose head is needed to decide an input besides the current one: an earlier one, a parent."""
    if isinstance(data, CreateSession):
        return data.profile.parent_id
    if not isinstance(data, _BY_HEAD) or data.session_id is None or not state.generation:
        return None
    same = conversation_of(data.session_id) == state.conversation_id
    return data.session_id if same and generation_of(data.session_id) < state.generation else None


def check_fence(state: SessionState, command: AnyCommand) -> None:
    """Raise LockLost if somebody else has held the session's lock since the sender of `command` got it."""
    if command.fence is not None and command.fence < state.fence:
        raise LockLost(f"lock token {command.fence} is older than {state.fence}: somebody else has held the lock since")


def _check_earlier(state: SessionState, command: AnyCommand) -> None:
    """Refuse what names a session that is not there, or an earlier one without being meant for such."""
    named = command.session_id
    if named is None or conversation_of(named) != state.conversation_id or generation_of(named) > state.generation:
        raise SessionNotFound(f"there is no session {named} in conversation {state.conversation_id}")
    if not isinstance(command, _FOR_EARLIER):
        raise SessionNotCurrent(f"{command.session_id} is not the conversation's current session ({state.session_id})")
