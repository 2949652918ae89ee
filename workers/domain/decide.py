"""The first half of the session's state machine: `decide` what an input causes.

Pure, no I/O, no clock: the caller says what time it is. Everything that ever changes a session goes through
`decide`; there is no second way in. (The shape is Chassaing's "functional event sourcing decider".)
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, assert_never

from contracts.commands import (
    AnyCommand,
    AppendMessage,
    ApplyDeadlines,
    ChangeState,
    CreateSession,
    DeleteMessage,
    DeleteSession,
    EditMessage,
    RefreshSession,
    ResetSession,
    UnblockSession,
    UpdateSession,
)
from contracts.errors import LockLost, SessionNotCurrent, SessionNotFound
from contracts.events import (
    AnyEvent,
    FenceRaised,
    MessageAppended,
    MessageDeleted,
    MessageEdited,
    ReactionChanged,
    SessionUnblocked,
    StartReason,
    StateChanged,
)
from contracts.ids import InputId, conversation_of, generation_of
from contracts.messages import (
    CommandContent,
    DeleteContent,
    EditContent,
    InboundMessage,
    ReactionContent,
    Role,
    SessionMessage,
    TextContent,
    message_key_for,
)
from contracts.profile import Profile
from contracts.session import SessionState, SessionStatus
from workers.domain.access import check_access
from workers.domain.blocking import check_unblocked
from workers.domain.carry_out import carry_out
from workers.domain.deadlines import expire, has_expired
from workers.domain.draft import Draft
from workers.domain.evolve import evolve
from workers.domain.limits import check_sent_at

_FOR_ENDED_SESSIONS: Final = (
    ApplyDeadlines,
    ChangeState,
    DeleteMessage,
    DeleteSession,
    EditMessage,
    ResetSession,
    UnblockSession,
)


@dataclass(frozen=True, slots=True)
class Input:
    """A message or command with its idempotency key."""

    id: InputId
    data: InboundMessage | AnyCommand


def decide(state: SessionState, given: Input, now: datetime) -> tuple[AnyEvent, ...]:
    """Return the events that `given` causes in `state`, in order; none if it was applied already.

    The events of a reset belong to two sessions: the one that ends and the one that begins.
    Raises Refused (a command against the rules) or InvalidInput (FutureTimestamp).
    """
    if given.id in state.recent_inputs:
        return ()
    data = given.data
    actor = None if isinstance(data, InboundMessage) else data.actor
    draft = Draft(state, given.id, now, data.address or state.address, actor)
    if has_expired(state, now):
        expire(draft, state)
        state = evolve(state, draft.events[-1])
    if not isinstance(data, InboundMessage):
        check_access(state, data)
    check_unblocked(state, given.id, data)
    if state.blocked_by == given.id:
        draft.add(SessionUnblocked)
    if isinstance(data, InboundMessage):
        check_sent_at(data, now)
        _receive(draft, state, data)
    else:
        _check_target(state, data)
        _check_fence(state, data)
        _wake(draft, state, data)
        carry_out(draft, state, data, given.id, now)
        if data.fence is not None and data.fence > state.fence:
            draft.add(FenceRaised, fence=data.fence)
    return tuple(draft.events)


def _receive(draft: Draft, state: SessionState, message: InboundMessage) -> None:
    if not state.is_live:
        draft.start(StartReason.MESSAGE, message.address, profile=Profile(owner=message.address.user))
    elif state.status is SessionStatus.IDLE:
        draft.add(StateChanged, previous=SessionStatus.IDLE, status=SessionStatus.ACTIVE, reason="message")
    match message.content:
        case TextContent() | CommandContent() as content:
            draft.add(
                MessageAppended,
                message=SessionMessage(
                    key=message.key,
                    message_id=message.message_id,
                    role=Role.USER,
                    address=message.address,
                    author=message.sender_name,
                    sent_at=message.sent_at,
                    content=content,
                ),
            )
        case EditContent() as edit:
            target = message_key_for(message.address, edit.target)
            draft.add(MessageEdited, target=target, text=edit.text, attachments=edit.attachments)
        case DeleteContent() as deletion:
            draft.add(MessageDeleted, target=message_key_for(message.address, deletion.target))
        case ReactionContent() as reaction:
            draft.add(
                ReactionChanged,
                target=message_key_for(message.address, reaction.target),
                user=message.address.user,
                reaction=reaction.reaction,
                removed=reaction.removed,
            )
        case _:
            assert_never(message.content)


def _wake(draft: Draft, state: SessionState, command: AnyCommand) -> None:
    """Make an idle session active again by what counts as activity."""
    active = isinstance(command, AppendMessage | RefreshSession) or (
        isinstance(command, UpdateSession) and command.status is None
    )
    if active and state.status is SessionStatus.IDLE:
        draft.add(StateChanged, previous=SessionStatus.IDLE, status=SessionStatus.ACTIVE, reason="activity")


def _check_target(state: SessionState, command: AnyCommand) -> None:
    """Hold a command to the session it names; all but CreateSession need one to be there."""
    if isinstance(command, CreateSession):
        return
    if not state.generation:
        raise SessionNotFound(f"conversation {state.conversation_id} has no session")
    if command.session_id and command.session_id != state.session_id:
        _check_earlier(state, command)
        return
    if state.status is SessionStatus.DELETED and not isinstance(command, ResetSession):
        raise SessionNotFound(f"session {state.session_id} was deleted")
    if not (state.is_live or isinstance(command, _FOR_ENDED_SESSIONS)):
        raise SessionNotFound(f"session {state.session_id} is {state.status}; create or reset it to go on")


def _check_earlier(state: SessionState, command: AnyCommand) -> None:
    """Refuse all that names another session than the current one, but to delete an earlier one."""
    named = command.session_id
    if named is None or conversation_of(named) != state.conversation_id or generation_of(named) > state.generation:
        raise SessionNotFound(f"there is no session {named} in conversation {state.conversation_id}")
    if not isinstance(command, DeleteSession):
        raise SessionNotCurrent(f"{command.session_id} is not the conversation's current session ({state.session_id})")


def _check_fence(state: SessionState, command: AnyCommand) -> None:
    if command.fence is not None and command.fence < state.fence:
        raise LockLost(f"lock token {command.fence} is older than {state.fence}: somebody else has held the lock since")
