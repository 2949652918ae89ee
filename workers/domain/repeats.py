"""Whether a command that comes again is the one that came before, or another one under the same id."""

from collections.abc import Iterable
from typing import Final

from agentbus.contracts.changes import FieldChanges
from agentbus.contracts.commands import (
    AnyCommand,
    AppendMessage,
    ChangeState,
    CloseSession,
    CreateSession,
    DeleteSession,
    ExtendSession,
    React,
    RefreshSession,
    ResetSession,
    SendReply,
    SetVisibility,
    ShareSession,
    TrimHistory,
    UpdateSession,
)
from agentbus.contracts.errors import RequestReused
from agentbus.contracts.events import (
    AnyEvent,
    CloseReason,
    Commit,
    DataSet,
    FenceRaised,
    HistoryTrimmed,
    MessageAppended,
    MetadataSet,
    ProfileAct,
    ProfileChanged,
    ReactionChanged,
    ReplyRequested,
    SessionClosed,
    SessionDeleted,
    SessionStarted,
    SessionUnblocked,
    StartReason,
    StateChanged,
)
from agentbus.contracts.ids import InputId
from agentbus.contracts.profile import Permission
from agentbus.workers.domain.rules import rule_of
from agentbus.workers.domain.said import events_said

_BESIDE: Final = frozenset({"expired", "activity"})
"""Why a status changes beside what a command asks for."""


def caused_by(input_id: InputId, commit: Commit) -> tuple[AnyEvent, ...]:
    """Return the events of `commit` that an input caused, or that appended the message of which it is the key."""
    caused = tuple(event for event in commit.events if event.cause == input_id)
    return caused or events_said((input_id,), commit.events).get(input_id, ())


def check_same(command: AnyCommand, caused: Iterable[AnyEvent]) -> None:
    """Raise RequestReused if what a command with this id caused before can't have been caused by `command`.

    What the events do not tell (how far an end was moved), or no longer (they were erased), is believed.
    """
    if rule_of(command).by_callers and not all(_possible(command, event) for event in caused):
        raise RequestReused(
            f"the id of this {command.kind} was used for something else before, which stays done: take another id"
        )


def _possible(command: AnyCommand, event: AnyEvent) -> bool:
    """Whether a command can have caused an event."""
    match event:
        case FenceRaised() | SessionUnblocked():
            possible = True
        case StateChanged():
            possible = _moved(command, event) or event.reason in _BESIDE
        case SessionStarted():
            possible = _started(command, event)
        case SessionClosed():
            possible = _closed(command, event)
        case SessionDeleted():
            possible = isinstance(command, DeleteSession) and command.session_id in {None, event.deleted}
        case HistoryTrimmed():
            possible = isinstance(command, TrimHistory)
        case DataSet():
            possible = isinstance(command, UpdateSession) and _set(command, command.data, event)
        case MetadataSet():
            possible = isinstance(command, UpdateSession) and _set(command, command.metadata, event)
        case ProfileChanged():
            possible = _profiled(command, event)
        case MessageAppended():
            possible = isinstance(command, AppendMessage | SendReply | UpdateSession)
        case ReplyRequested():
            possible = isinstance(command, SendReply | React)
        case ReactionChanged():
            possible = isinstance(command, React)
        case _:
            possible = False
    return possible


def _moved(command: AnyCommand, event: StateChanged) -> bool:
    if isinstance(command, ChangeState) and command.state is not None:
        return event.state == command.state
    asked = isinstance(command, ChangeState | UpdateSession) and event.status is command.status
    return asked and event.state is None


def _started(command: AnyCommand, event: SessionStarted) -> bool:
    if isinstance(command, ResetSession):
        return event.reason is StartReason.RESET
    if isinstance(command, SendReply):
        return event.reason is StartReason.MESSAGE and command.session_id is None
    if not isinstance(command, CreateSession) or event.reason is not StartReason.CREATED:
        return False
    # Whether somebody else has used the id is nobody's business: whoever asks is told what they may know.
    others = command.profile.owner != event.profile.owner
    believed = not (event.data or event.metadata) or command.profile.template == event.profile.template is not None
    return others or believed or (event.data, event.metadata) == (command.data, command.metadata)


def _closed(command: AnyCommand, event: SessionClosed) -> bool:
    match command:
        case CreateSession():
            return event.why is CloseReason.SUPERSEDED
        case ResetSession():
            return event.why is CloseReason.RESET
        case CloseSession():
            return event.why is CloseReason.CLOSED and event.reason in {None, command.reason}
    return False


def _set(command: UpdateSession, changes: FieldChanges, event: DataSet | MetadataSet) -> bool:
    """Whether changes set what was set; what a number came to by adding to it is not known.

    A template is asked for by its name, and may say something else by now.
    """
    added = (changes.increments or {}).keys()
    wanted = {key: value for key, value in changes.values.items() if key not in changes.remove}
    then = {key: value for key, value in event.values.items() if key not in added}
    return not event.values or then == wanted or command.profile.template is not None


def _profiled(command: AnyCommand, event: ProfileChanged) -> bool:
    told: tuple[ProfileAct, str | None, Permission | None]
    match command:
        case UpdateSession() if command.profile.template in {None, event.profile.template}:
            told = ProfileAct.UPDATED, None, None
        case ShareSession():
            act = ProfileAct.SHARED if command.permission else ProfileAct.REVOKED
            told = act, command.user, command.permission
        case SetVisibility() if event.profile.visibility is command.visibility:
            told = ProfileAct.VISIBILITY_SET, None, None
        case ExtendSession():
            told = ProfileAct.EXTENDED, None, None
        case RefreshSession():
            told = ProfileAct.REFRESHED, None, None
        case _:
            return False
    return event.act is None or told == (event.act, event.user, event.permission)  # none: by an earlier release
