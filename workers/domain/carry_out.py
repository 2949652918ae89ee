"""What a command causes, once it is known that it may be carried out."""

from datetime import datetime
from typing import assert_never

from contracts.commands import (
    AnyCommand,
    AppendMessage,
    ApplyDeadlines,
    ChangeState,
    CloseSession,
    CreateSession,
    DeleteMessage,
    DeleteSession,
    EditMessage,
    ExtendSession,
    FieldChanges,
    RefreshSession,
    ResetSession,
    SetData,
    SetMetadata,
    SetVisibility,
    ShareSession,
    TrimHistory,
    UnblockSession,
    UpdateSession,
)
from contracts.events import (
    CloseReason,
    DataSet,
    HistoryTrimmed,
    MessageAppended,
    MessageDeleted,
    MessageEdited,
    MetadataSet,
    ProfileChanged,
    SessionDeleted,
    SessionUnblocked,
    StartReason,
    StateChanged,
)
from contracts.ids import InputId, MessageKey, digest_of
from contracts.messages import OutboundMessage, SessionMessage, message_key_for
from contracts.profile import Profile
from contracts.session import SessionState, SessionStatus
from workers.domain.deadlines import extended, make_idle, refreshed
from workers.domain.draft import Draft
from workers.domain.editing import changed_fields, changed_profile, shared_profile
from workers.domain.states import check_transition


def carry_out(draft: Draft, state: SessionState, command: AnyCommand, command_id: InputId, now: datetime) -> None:
    """Add the events that `command` causes to `draft`. Raises Refused where the change itself is against a rule."""
    match command:
        case CreateSession():
            _create(draft, state, command, now)
        case AppendMessage():
            draft.add(MessageAppended, message=_outgoing(state, command.message, command_id, now))
        case EditMessage():
            target = MessageKey(command.target)
            draft.add(MessageEdited, target=target, text=command.text, attachments=command.attachments)
        case DeleteMessage():
            draft.add(MessageDeleted, target=MessageKey(command.target))
        case SetData():
            _set_data(draft, state, FieldChanges(values=command.values, remove=command.remove))
        case SetMetadata():
            _set_metadata(draft, state, FieldChanges(values=command.values, remove=command.remove))
        case UpdateSession():
            _update(draft, state, command, command_id, now)
        case ShareSession() | SetVisibility() | ExtendSession() | RefreshSession():
            draft.add(ProfileChanged, profile=_profile_after(state.profile, command, now))
        case TrimHistory():
            before = min(command.before, state.sequence + 1)  # what is still to come stays to be seen
            if before > state.shown_from:
                draft.add(HistoryTrimmed, before=before)
        case ApplyDeadlines():
            make_idle(draft, state, now)
        case ResetSession() | CloseSession() | DeleteSession():
            _end(draft, state, command, now)
        case ChangeState():
            _change_status(draft, state, command.status, command.reason)
        case UnblockSession():
            if state.blocked_by:
                draft.add(SessionUnblocked)
        case _:
            assert_never(command)


def _create(draft: Draft, state: SessionState, command: CreateSession, now: datetime) -> None:
    if state.is_live and command.keep_live:
        return
    if state.is_live:
        draft.close(CloseReason.SUPERSEDED)
    owner = command.profile.owner or command.actor or (command.address.user if command.address else None)
    profile = command.profile if command.profile.expires_at else refreshed(command.profile, now)
    draft.start(
        StartReason.CREATED,
        command.address,
        data=command.data,
        metadata=command.metadata,
        profile=profile.model_copy(update={"owner": owner}),
    )


def _end(
    draft: Draft, state: SessionState, command: ResetSession | CloseSession | DeleteSession, now: datetime
) -> None:
    match command:
        case ResetSession():
            if state.is_live:
                draft.close(CloseReason.RESET, command.reason)
            draft.start(StartReason.RESET, state.address, profile=_lasting(state.profile, now))
        case CloseSession():
            draft.close(CloseReason.CLOSED, command.reason)
        case DeleteSession():
            draft.add(SessionDeleted, deleted=command.session_id or state.session_id)


def _lasting(profile: Profile, now: datetime) -> Profile:
    """Return what a reset leaves of a profile: all but its end, which comes by its lifetime anew, if it has one."""
    return refreshed(profile.model_copy(update={"expires_at": None}), now)


def _set_data(draft: Draft, state: SessionState, changes: FieldChanges) -> None:
    values, removed = changed_fields("data", state.data, changes)
    draft.add(DataSet, values=values, removed=removed)


def _set_metadata(draft: Draft, state: SessionState, changes: FieldChanges) -> None:
    values, removed = changed_fields("metadata", state.metadata, changes)
    draft.add(MetadataSet, values=values, removed=removed)


def _update(draft: Draft, state: SessionState, command: UpdateSession, command_id: InputId, now: datetime) -> None:
    if command.data != FieldChanges():
        _set_data(draft, state, command.data)
    if command.metadata != FieldChanges():
        _set_metadata(draft, state, command.metadata)
    profile = changed_profile(state.profile, command.profile)
    if profile != state.profile:
        draft.add(ProfileChanged, profile=profile)
    for number, message in enumerate(command.messages):
        message_id = InputId(digest_of((command_id, str(number))))
        draft.add(MessageAppended, message=_outgoing(state, message, message_id, now))
    if command.status is not None:
        _change_status(draft, state, command.status)


def _change_status(draft: Draft, state: SessionState, status: SessionStatus, reason: str | None = None) -> None:
    if status is not state.status:
        check_transition(state.status, status)
        draft.add(StateChanged, previous=state.status, status=status, reason=reason)


def _profile_after(
    profile: Profile, command: ShareSession | SetVisibility | ExtendSession | RefreshSession, now: datetime
) -> Profile:
    match command:
        case ShareSession():
            return shared_profile(profile, command.user, command.permission)
        case SetVisibility():
            return profile.model_copy(update={"visibility": command.visibility})
        case ExtendSession():
            return extended(profile, command, now)
        case RefreshSession():
            return refreshed(profile, now)


def _outgoing(state: SessionState, message: OutboundMessage, otherwise: InputId, now: datetime) -> SessionMessage:
    """Return `message` as the history keeps it; `otherwise` is its id if it has none."""
    address = message.address or state.address
    message_id = message.message_id or otherwise
    return SessionMessage(
        key=message_key_for(address, message_id) if address else MessageKey(message_id),
        message_id=message_id,
        role=message.role,
        address=address,
        author=message.author,
        sent_at=message.sent_at or now,
        content=message.content,
    )
