"""The first half of the session's state machine: `decide` what an input causes.

Pure, no I/O, no clock: the caller says what time it is. Everything that ever changes a session goes through
`decide`; there is no second way in. (The shape is Chassaing's "functional event sourcing decider".)
"""

from dataclasses import dataclass
from datetime import datetime
from typing import assert_never

from contracts.commands import (
    AnyCommand,
    AppendMessage,
    ChangeState,
    CloseSession,
    CreateSession,
    DeleteMessage,
    EditMessage,
    ResetSession,
    SetData,
    SetMetadata,
    UnblockSession,
)
from contracts.errors import SessionNotCurrent, SessionNotFound
from contracts.events import (
    AnyEvent,
    CloseReason,
    DataSet,
    MessageAppended,
    MessageDeleted,
    MessageEdited,
    MetadataSet,
    ReactionChanged,
    SessionUnblocked,
    StartReason,
    StateChanged,
)
from contracts.ids import InputId, MessageKey
from contracts.messages import (
    CommandContent,
    DeleteContent,
    EditContent,
    InboundMessage,
    OutboundMessage,
    ReactionContent,
    Role,
    SessionMessage,
    TextContent,
    message_key_for,
)
from contracts.session import SessionState, SessionStatus
from workers.domain.blocking import check_unblocked
from workers.domain.draft import Draft
from workers.domain.evolve import merged
from workers.domain.limits import check_sent_at, check_size
from workers.domain.states import check_transition

_FOR_ENDED_SESSIONS = (ResetSession, ChangeState, EditMessage, DeleteMessage, UnblockSession)


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
    check_unblocked(state, given.id, data)
    draft = Draft(state, given.id, now, data.address or state.address)
    if state.blocked_by == given.id:
        draft.add(SessionUnblocked)
    if isinstance(data, InboundMessage):
        check_sent_at(data, now)
        _receive(draft, state, data)
    else:
        _check_target(state, data)
        _carry_out(draft, state, data, given.id, now)
    return tuple(draft.events)


def _receive(draft: Draft, state: SessionState, message: InboundMessage) -> None:
    if not state.is_live:
        draft.start(StartReason.MESSAGE, message.address)
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


def _check_target(state: SessionState, command: AnyCommand) -> None:
    """Hold a command to the session it names; all but CreateSession need one to be there."""
    if isinstance(command, CreateSession):
        return
    if not state.generation:
        raise SessionNotFound(f"conversation {state.conversation_id} has no session")
    if command.session_id and command.session_id != state.session_id:
        raise SessionNotCurrent(f"{command.session_id} is not the conversation's current session ({state.session_id})")
    if not (state.is_live or isinstance(command, _FOR_ENDED_SESSIONS)):
        raise SessionNotFound(f"session {state.session_id} is {state.status}; create or reset it to go on")


def _carry_out(draft: Draft, state: SessionState, command: AnyCommand, command_id: InputId, now: datetime) -> None:
    match command:
        case CreateSession():
            _create(draft, state, command)
        case AppendMessage():
            draft.add(MessageAppended, message=_outgoing(state, command.message, command_id, now))
        case EditMessage():
            target = MessageKey(command.target)
            draft.add(MessageEdited, target=target, text=command.text, attachments=command.attachments)
        case DeleteMessage():
            draft.add(MessageDeleted, target=MessageKey(command.target))
        case SetData():
            check_size("data", merged(state.data, command.values, command.remove))
            draft.add(DataSet, values=command.values, removed=command.remove)
        case SetMetadata():
            check_size("metadata", merged(state.metadata, command.values, command.remove))
            draft.add(MetadataSet, values=command.values, removed=command.remove)
        case ResetSession():
            if state.is_live:
                draft.close(CloseReason.RESET, command.reason)
            draft.start(StartReason.RESET, state.address)
        case CloseSession():
            draft.close(CloseReason.CLOSED, command.reason)
        case ChangeState():
            check_transition(state.status, command.status)
            draft.add(StateChanged, previous=state.status, status=command.status, reason=command.reason)
        case UnblockSession():
            if state.blocked_by:
                draft.add(SessionUnblocked)
        case _:
            assert_never(command)


def _create(draft: Draft, state: SessionState, command: CreateSession) -> None:
    if state.is_live and command.keep_live:
        return
    if state.is_live:
        draft.close(CloseReason.SUPERSEDED)
    draft.start(StartReason.CREATED, command.address, data=command.data, metadata=command.metadata)


def _outgoing(state: SessionState, message: OutboundMessage, command_id: InputId, now: datetime) -> SessionMessage:
    address = message.address or state.address
    message_id = message.message_id or command_id
    return SessionMessage(
        key=message_key_for(address, message_id) if address else MessageKey(message_id),
        message_id=message_id,
        role=message.role,
        address=address,
        author=message.author,
        sent_at=now,
        content=message.content,
    )
