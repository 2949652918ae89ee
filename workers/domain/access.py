"""Access: who may see a session, who may change it, who decides about it."""

from collections.abc import Mapping
from datetime import datetime
from enum import IntEnum
from types import MappingProxyType
from typing import Final, TypeVar

from contracts.commands import (
    AmendCopy,
    AnyCommand,
    ApplyDeadlines,
    ArchiveSession,
    ChangeState,
    CloseSession,
    CreateSession,
    DeleteSession,
    EraseConversation,
    ExpireSession,
    ExtendSession,
    LinkIdentity,
    MergeContext,
    ResolveConflict,
    RestoreSession,
    SetVisibility,
    ShareSession,
    UnblockSession,
    UnlinkIdentity,
    UpdateSession,
)
from contracts.errors import AccessDenied
from contracts.ids import SessionId
from contracts.profile import Permission, Profile, Visibility
from contracts.session import SessionState, SessionStatus

Bound = TypeVar("Bound", datetime, float)

_NONE: Final[Mapping[SessionId, SessionState]] = MappingProxyType({})

DENIED: Final = "no such session, or no access to it"
"""The same words for both, so that a refusal does not tell whether the session exists."""

_FOR_OWNERS: Final = (
    AmendCopy,
    ApplyDeadlines,
    ArchiveSession,
    CloseSession,
    CreateSession,
    DeleteSession,
    EraseConversation,
    ExpireSession,
    LinkIdentity,
    MergeContext,
    ResolveConflict,
    RestoreSession,
    SetVisibility,
    ShareSession,
    UnblockSession,
    UnlinkIdentity,
)
_ABOUT_ONE_SESSION: Final = (ArchiveSession, DeleteSession, ExpireSession, RestoreSession)
"""What may be done to an earlier session, and to that one alone."""


class Right(IntEnum):
    """What someone may do with a session; a higher right includes the lower ones."""

    NONE = 0
    READ = 1
    WRITE = 2
    OWN = 3


def right_of(profile: Profile, user: str) -> Right:
    """Return what `user` may do with a session that has this profile."""
    if profile.owner == user:
        return Right.OWN
    match profile.shares.get(user):
        case Permission.WRITE:
            return Right.WRITE
        case Permission.READ:
            return Right.READ
    return Right.READ if profile.visibility is Visibility.PUBLIC else Right.NONE


def may(state: SessionState, user: str | None, right: Right) -> bool:
    """Whether `user` has at least `right` on a session; None is AgentBus itself, which may do everything."""
    return user is None or right_of(state.profile, user) >= right


def check_access(state: SessionState, command: AnyCommand, earlier: Mapping[SessionId, SessionState] = _NONE) -> None:
    """Raise AccessDenied unless the user whom `command` is done for may do it, or it is done for no user.

    `earlier`: the head of the earlier session that it is about. Without it nobody may.
    """
    if command.actor is None:
        return
    if isinstance(command, CreateSession):
        # A new session has the owner that it names; one that is live may be superseded by its own owner alone.
        if command.profile.owner not in (None, command.actor):
            raise AccessDenied(DENIED)
        if not state.is_live:
            return
    session: SessionState | None = state
    if isinstance(command, _ABOUT_ONE_SESSION) and command.session_id not in (None, _current(state)):
        session = earlier.get(command.session_id)  # whose it was is not always whose its conversation is
    if session is None or not session.generation or session.status is SessionStatus.DELETED:
        raise AccessDenied(DENIED)
    if not may(session, command.actor, _needed(session, command)):
        raise AccessDenied(DENIED)


def _current(state: SessionState) -> SessionId | None:
    return state.session_id if state.generation else None


def _needed(state: SessionState, command: AnyCommand) -> Right:
    return Right.OWN if isinstance(command, _FOR_OWNERS) or _ends(state.profile, command) else Right.WRITE


def _ends(profile: Profile, command: AnyCommand) -> bool:
    """Whether a command ends the session, or brings its end nearer: nothing leads back, so the owner has to say so."""
    match command:
        case ChangeState():
            return not command.status.is_live
        case ExtendSession():
            return profile.expires_at is None or _is_less(command.until, profile.expires_at)
        case UpdateSession(profile=changes):
            ended = command.status is not None and not command.status.is_live
            sooner = _is_less(changes.expires_at, profile.expires_at)
            return ended or sooner or _is_less(changes.lifetime, profile.lifetime)
    return False


def _is_less(wanted: Bound | None, held: Bound | None) -> bool:
    """Whether a bound is set that is tighter than the one there is, if there is one."""
    return wanted is not None and (held is None or wanted < held)
