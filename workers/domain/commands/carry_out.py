"""What a command causes, once it is known that it may be carried out."""

from datetime import datetime
from typing import Any, assert_never

from pydantic import JsonValue

from contracts.changes import FieldChanges
from contracts.commands import (
    AmendCopy,
    AnyCommand,
    AppendMessage,
    ApplyDeadlines,
    ArchiveSession,
    ChangeState,
    CloseSession,
    CreateSession,
    DeleteMessage,
    DeleteSession,
    EditMessage,
    EraseConversation,
    ExpireSession,
    ExtendSession,
    LinkIdentity,
    MergeContext,
    RefreshSession,
    ResetSession,
    ResolveConflict,
    RestoreSession,
    SetData,
    SetMetadata,
    SetVisibility,
    ShareSession,
    TrimHistory,
    UnblockSession,
    UnlinkIdentity,
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
    ProfileAct,
    ProfileChanged,
    SessionUnblocked,
    StartReason,
    StateChanged,
)
from contracts.ids import InputId, MessageKey, digest_of
from contracts.messages import OutboundMessage, SessionMessage, message_key_for
from contracts.profile import Profile
from contracts.session import SessionState, SessionStatus
from workers.domain.checks.limits import check_fields
from workers.domain.checks.states import check_transition
from workers.domain.checks.target import check_parent
from workers.domain.commands.editing import (
    changed_fields,
    changed_profile,
    check_status,
    differing,
    shared_profile,
)
from workers.domain.commands.ending import Earlier, put_away
from workers.domain.deadlines import extended, lasting, make_idle, refreshed
from workers.domain.draft import Draft
from workers.domain.line import is_next
from workers.domain.sync.fields import DATA, METADATA, bases_of, leaves
from workers.domain.sync.linking import share


def carry_out(draft: Draft, state: SessionState, command: AnyCommand, command_id: InputId, earlier: Earlier) -> None:
    """Add the events that `command` causes to `draft`. Raises Refused where the change itself is against a rule."""
    now = draft.at
    match command:
        case CreateSession():
            _create(draft, state, command, now, earlier)
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
            draft.add(ProfileChanged, profile=_profile_after(state.profile, command, now), **_told(command))
        case TrimHistory():
            before = min(command.before, state.sequence + 1)  # what is still to come stays to be seen
            if before > state.shown_from:
                draft.add(HistoryTrimmed, before=before)
        case ApplyDeadlines():
            make_idle(draft, state, now)
        case ResetSession() | CloseSession():
            _end(draft, state, command, now)
        case ChangeState():
            _change_status(draft, state, command.status, command.reason)
        case LinkIdentity() | UnlinkIdentity() | MergeContext() | AmendCopy() | ResolveConflict():
            share(draft, state, command)
        case DeleteSession() | ExpireSession() | ArchiveSession() | RestoreSession() | EraseConversation():
            put_away(draft, state, command, earlier)
        case UnblockSession():
            _unblock(draft, state, command)
        case _:
            assert_never(command)


def _create(draft: Draft, state: SessionState, command: CreateSession, now: datetime, earlier: Earlier) -> None:
    if state.is_live and command.keep_live:
        return
    check_parent(state, command, earlier)
    if state.is_live:
        draft.close(CloseReason.SUPERSEDED)
    owner = command.profile.owner or command.actor or (command.address.user if command.address else None)
    profile = command.profile if command.profile.expires_at else refreshed(command.profile, now)
    check_fields((*leaves(DATA, command.data), *leaves(METADATA, command.metadata)))
    draft.start(
        StartReason.CREATED,
        command.address,
        data=command.data,
        metadata=command.metadata,
        profile=profile.model_copy(update={"owner": owner}),
        stamp=draft.stamp() if command.data or command.metadata else None,
    )


def _end(draft: Draft, state: SessionState, command: ResetSession | CloseSession, now: datetime) -> None:
    match command:
        case ResetSession():
            if state.is_live:
                draft.close(CloseReason.RESET, command.reason)
            draft.start(StartReason.RESET, state.address, profile=lasting(state.profile, now))
        case CloseSession():
            draft.close(CloseReason.CLOSED, command.reason)


def _unblock(draft: Draft, state: SessionState, command: UnblockSession) -> None:
    if command.input is None:
        if state.blocked_by:
            draft.add(SessionUnblocked)
    elif is_next(state, InputId(command.input)):
        draft.add(SessionUnblocked, waiting=len(state.waiting))


def _set_data(draft: Draft, state: SessionState, changes: FieldChanges) -> None:
    values, removed = changed_fields(DATA, state.data, changes)
    draft.add(DataSet, values=values, removed=removed, **_stamped(draft, state, DATA, values, removed))


def _set_metadata(draft: Draft, state: SessionState, changes: FieldChanges) -> None:
    values, removed = changed_fields(METADATA, state.metadata, changes)
    draft.add(MetadataSet, values=values, removed=removed, **_stamped(draft, state, METADATA, values, removed))


def _stamped(
    draft: Draft, state: SessionState, area: str, values: dict[str, JsonValue], removed: tuple[str, ...]
) -> dict[str, Any]:
    """Return when a write happens, and when what it replaces was written. Raises LimitExceeded for too many fields."""
    if not (values or removed):
        return {}
    check_fields(state.stamps.keys() | leaves(area, values).keys())
    return {"stamp": draft.stamp(), "bases": bases_of(state, area, values, removed)}


def _update(draft: Draft, state: SessionState, command: UpdateSession, command_id: InputId, now: datetime) -> None:
    if command.data != FieldChanges():
        _set_data(draft, state, command.data)
    if command.metadata != FieldChanges():
        _set_metadata(draft, state, command.metadata)
    profile = changed_profile(state.profile, command.profile)
    if fields := differing(state.profile, profile):
        draft.add(ProfileChanged, profile=profile, act=ProfileAct.UPDATED, fields=fields)
    for number, message in enumerate(command.messages):
        message_id = InputId(digest_of((command_id, str(number))))
        draft.add(MessageAppended, message=_outgoing(state, message, message_id, now))
    if command.status is not None:
        check_status(state.status, command.seen_status)
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


def _told(command: ShareSession | SetVisibility | ExtendSession | RefreshSession) -> dict[str, Any]:
    """Return what an event says of what was done, besides what came of it."""
    match command:
        case ShareSession(permission=None):
            return {"act": ProfileAct.REVOKED, "user": command.user}
        case ShareSession():
            return {"act": ProfileAct.SHARED, "user": command.user, "permission": command.permission}
        case SetVisibility():
            return {"act": ProfileAct.VISIBILITY_SET}
        case ExtendSession():
            return {"act": ProfileAct.EXTENDED}
        case RefreshSession():
            return {"act": ProfileAct.REFRESHED}


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
