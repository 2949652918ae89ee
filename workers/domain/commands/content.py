"""What the commands cause that change what a session holds: its messages, data, metadata and profile."""

from typing import Any

from pydantic import JsonValue

from agentbus.contracts.changes import FieldChanges
from agentbus.contracts.commands import (
    AppendMessage,
    DeleteMessage,
    EditMessage,
    ExtendSession,
    RefreshSession,
    SetData,
    SetMetadata,
    SetVisibility,
    ShareSession,
    TrimHistory,
    UpdateSession,
)
from agentbus.contracts.events import (
    DataSet,
    HistoryTrimmed,
    MessageDeleted,
    MessageEdited,
    MetadataSet,
    ProfileAct,
    ProfileChanged,
)
from agentbus.contracts.ids import InputId, MessageKey, digest_of
from agentbus.contracts.messages import OutboundMessage, SessionMessage, message_key_for
from agentbus.contracts.session import SessionState
from agentbus.workers.domain.checks.limits import check_fields
from agentbus.workers.domain.commands.editing import (
    changed_fields,
    changed_profile,
    check_status,
    differing,
    shared_profile,
)
from agentbus.workers.domain.commands.lifecycle import change_status
from agentbus.workers.domain.deadlines import extended, refreshed
from agentbus.workers.domain.draft import Draft
from agentbus.workers.domain.replies import change_reply
from agentbus.workers.domain.sync.fields import DATA, METADATA, bases_of, leaves


def append_message(draft: Draft, state: SessionState, command: AppendMessage) -> None:
    """Append a message; without an id of its own it has the command's."""
    _append(draft, state, command.message, draft.cause)


def edit_message(draft: Draft, state: SessionState, command: EditMessage) -> None:
    """Say what an earlier message says now, wherever it stands."""
    target = MessageKey(command.target)
    draft.add(MessageEdited, target=target, text=command.text, attachments=command.attachments)
    change_reply(draft, state, target)


def delete_message(draft: Draft, state: SessionState, command: DeleteMessage) -> None:
    """Say that an earlier message was taken back, wherever it stands."""
    target = MessageKey(command.target)
    draft.add(MessageDeleted, target=target)
    change_reply(draft, state, target)


def set_data(draft: Draft, state: SessionState, command: SetData) -> None:
    """Set and remove keys of the data. Raises LimitExceeded."""
    _change_data(draft, state, FieldChanges(values=command.values, remove=command.remove))


def set_metadata(draft: Draft, state: SessionState, command: SetMetadata) -> None:
    """Set and remove keys of the metadata. Raises LimitExceeded."""
    _change_metadata(draft, state, FieldChanges(values=command.values, remove=command.remove))


def update_session(draft: Draft, state: SessionState, command: UpdateSession) -> None:
    """Change several things at once. Raises EditConflict, LimitExceeded, TransitionForbidden."""
    if command.data != FieldChanges():
        _change_data(draft, state, command.data)
    if command.metadata != FieldChanges():
        _change_metadata(draft, state, command.metadata)
    profile = changed_profile(state.profile, command.profile)
    if fields := differing(state.profile, profile):
        draft.add(ProfileChanged, profile=profile, act=ProfileAct.UPDATED, fields=fields)
    for number, message in enumerate(command.messages):
        _append(draft, state, message, InputId(digest_of((draft.cause, str(number)))))
    if command.status is not None:
        check_status(state.status, command.seen_status)
        change_status(draft, state, command.status, command.actor)


def share_session(draft: Draft, state: SessionState, command: ShareSession) -> None:
    """Let another user see or change the session, or no longer. Raises LimitExceeded."""
    told: dict[str, Any] = {"act": ProfileAct.REVOKED, "user": command.user}
    if command.permission is not None:
        told |= {"act": ProfileAct.SHARED, "permission": command.permission}
    draft.add(ProfileChanged, profile=shared_profile(state.profile, command.user, command.permission), **told)


def set_visibility(draft: Draft, state: SessionState, command: SetVisibility) -> None:
    """Say who may see the session besides those it is shared with."""
    profile = state.profile.model_copy(update={"visibility": command.visibility})
    draft.add(ProfileChanged, profile=profile, act=ProfileAct.VISIBILITY_SET)


def extend_session(draft: Draft, state: SessionState, command: ExtendSession) -> None:
    """Move the session's end. Raises LimitExceeded."""
    draft.add(ProfileChanged, profile=extended(state.profile, command, draft.at), act=ProfileAct.EXTENDED)


def refresh_session(draft: Draft, state: SessionState, _command: RefreshSession) -> None:
    """Begin the session's lifetime anew, if it has one."""
    draft.add(ProfileChanged, profile=refreshed(state.profile, draft.at), act=ProfileAct.REFRESHED)


def trim_history(draft: Draft, state: SessionState, command: TrimHistory) -> None:
    """No longer show what was before; nothing happens if that is so already."""
    before = min(command.before, state.sequence + 1)  # what is still to come stays to be seen
    if before > state.shown_from:
        draft.add(HistoryTrimmed, before=before)


def _change_data(draft: Draft, state: SessionState, changes: FieldChanges) -> None:
    values, removed = changed_fields(DATA, state.data, changes)
    draft.add(DataSet, values=values, removed=removed, **_stamped(draft, state, DATA, values, removed))


def _change_metadata(draft: Draft, state: SessionState, changes: FieldChanges) -> None:
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


def _append(draft: Draft, state: SessionState, message: OutboundMessage, otherwise: InputId) -> None:
    draft.append(said_now(draft, state, message, otherwise))


def said_now(draft: Draft, state: SessionState, message: OutboundMessage, otherwise: InputId) -> SessionMessage:
    """Return `message` as the history keeps it; `otherwise` is its id if it has none."""
    address = message.address or state.address
    message_id = message.message_id or otherwise
    return SessionMessage(
        key=message_key_for(address, message_id) if address else MessageKey(message_id),
        message_id=message_id,
        role=message.role,
        address=address,
        author=message.author,
        sent_at=message.sent_at or draft.at,
        content=message.content,
    )
