"""What the commands cause that begin a session, end it, or move it to another status; and that let it go on."""

from collections.abc import Mapping

from agentbus.contracts.commands import (
    ApplyDeadlines,
    ChangeState,
    CloseSession,
    CreateSession,
    ResetSession,
    UnblockSession,
)
from agentbus.contracts.errors import SessionNotFound
from agentbus.contracts.events import CloseReason, SessionUnblocked, StartReason
from agentbus.contracts.ids import InputId, SessionId
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.contracts.tracking import StateTransitionType
from agentbus.workers.domain.checks.limits import check_fields
from agentbus.workers.domain.checks.states import Asked, way_to
from agentbus.workers.domain.deadlines import lasting, make_idle, refreshed
from agentbus.workers.domain.draft import Draft
from agentbus.workers.domain.line import is_next
from agentbus.workers.domain.sync.fields import DATA, METADATA, leaves


def create_session(draft: Draft, state: SessionState, command: CreateSession) -> None:
    """Start a session, and end the live one; or leave that as it is, if asked so. Raises TransitionForbidden."""
    if state.is_live and command.keep_live:
        return
    check_parent(state, command, draft.earlier)
    if state.is_live:
        _close(draft, state, command, CloseReason.SUPERSEDED)
    owner = command.profile.owner or command.actor or (command.address.user if command.address else None)
    profile = command.profile if command.profile.expires_at else refreshed(command.profile, draft.at)
    check_fields((*leaves(DATA, command.data), *leaves(METADATA, command.metadata)))
    draft.start(
        StartReason.CREATED,
        command.address,
        data=command.data,
        metadata=command.metadata,
        profile=profile.model_copy(update={"owner": owner}),
        stamp=draft.stamp() if command.data or command.metadata else None,
    )


def reset_session(draft: Draft, state: SessionState, command: ResetSession) -> None:
    """End the session if it is live, and start the next one. Raises TransitionForbidden."""
    if state.is_live:
        _close(draft, state, command, CloseReason.RESET, command.reason)
    draft.start(StartReason.RESET, state.address, profile=lasting(state.profile, draft.at))


def close_session(draft: Draft, state: SessionState, command: CloseSession) -> None:
    """End the session. Raises TransitionForbidden."""
    _close(draft, state, command, CloseReason.CLOSED, command.reason)


def change_state(draft: Draft, state: SessionState, command: ChangeState) -> None:
    """Move the session to another status, or to a state of the installation's own. Raises TransitionForbidden."""
    asked = Asked(now=draft.at, type=command.type or StateTransitionType.MANUAL, actor=command.actor)
    target = command.state or command.status
    if target is not None:
        _change(draft, state, target, asked, command.reason)


def change_status(draft: Draft, state: SessionState, status: SessionStatus, actor: str | None) -> None:
    """Add a change of status, if it is one. Raises TransitionForbidden."""
    if status is not state.status:
        _change(draft, state, status, Asked(now=draft.at, type=StateTransitionType.MANUAL, actor=actor), None)


def _change(draft: Draft, state: SessionState, target: str, asked: Asked, reason: str | None) -> None:
    machine = draft.machine
    if target == machine.state_of(state):
        return
    way = way_to(machine, state, target, asked)
    status = machine.statuses[target]
    own = None if target == status else target
    draft.move(state, status, reason, own=own, handler=way.handler)


def _close(
    draft: Draft,
    state: SessionState,
    command: CreateSession | ResetSession | CloseSession,
    why: CloseReason,
    reason: str | None = None,
) -> None:
    asked = Asked(now=draft.at, type=StateTransitionType.MANUAL, actor=command.actor)
    draft.close(state, way_to(draft.machine, state, SessionStatus.CLOSED, asked), why, reason)


def apply_deadlines(draft: Draft, state: SessionState, _command: ApplyDeadlines) -> None:
    """Make the session idle if its time has come; if its end has, that was said before any command is carried out."""
    make_idle(draft, state, draft.at)


def unblock_session(draft: Draft, state: SessionState, command: UnblockSession) -> None:
    """Let the conversation go on without the next input, if it is this one; or without all that it waits for."""
    if command.input is None:
        if state.blocked_by:
            draft.add(SessionUnblocked)
    elif is_next(state, InputId(command.input)):
        draft.add(SessionUnblocked, waiting=len(state.waiting))


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
