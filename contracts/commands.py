"""Commands: what can be asked of a conversation's owner. Imperative; answered with a `CommandReply`."""

from functools import cache
from typing import Annotated, Literal, Self, TypeAlias, TypeVar

from pydantic import Field, WithJsonSchema, model_validator

from agentbus.contracts.address import Address, Platform
from agentbus.contracts.base import (
    MAX_INTEGER,
    Announced,
    Contract,
    Id,
    JsonObject,
    KeepableObject,
    Many,
    Name,
    Text,
    Timestamp,
    nothing,
)
from agentbus.contracts.changes import FieldChanges
from agentbus.contracts.events import Commit, MessageAppended
from agentbus.contracts.expiry import ArchiveRef, CleanupAction
from agentbus.contracts.history import HistoryMessage
from agentbus.contracts.ids import InputId, MessageKey, SessionId, SessionIdField
from agentbus.contracts.messages import Attachments, OutboundMessage, SessionMessage
from agentbus.contracts.operators import Operator
from agentbus.contracts.profile import Permission, Profile, ProfileChanges, Seconds, Visibility, no_profile
from agentbus.contracts.replies import PlatformIds, Reason, ReplyIdField, ReplyOutcome, ReplyResolution
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.contracts.stamps import StampField
from agentbus.contracts.sync import (
    ALL_OPERATIONS,
    Conflict,
    ConflictStrategy,
    Entry,
    FieldPointer,
    Resolution,
    SyncOperation,
    TurnedDown,
)
from agentbus.contracts.tracking import StateTransitionType

Kept = TypeVar("Kept")
_AsKept: TypeAlias = Annotated[Kept, WithJsonSchema({"type": "object", "description": "As a store keeps it."})]


class _Command(Contract):
    """A command names its conversation by the envelope's partition key, a session id, or an address."""

    session_id: SessionIdField | None = Field(
        default=None,
        description="Refused unless this is the conversation's current session. Without it: any.",
    )
    address: Address | None = Field(default=None, description="Names the conversation, by the scope policy.")
    actor: Id | None = Field(default=None, description="The user it is done for, whose rights are checked.")
    by: Operator | None = Field(
        default=None, exclude_if=nothing, description="Who had it done. Their rights are not checked here."
    )
    fence: int | None = Field(
        default=None, ge=1, le=MAX_INTEGER, description="Token of the lock held: refused if a later one was seen."
    )


@cache
def _unchanged() -> FieldChanges:
    return FieldChanges()


@cache
def _same_profile() -> ProfileChanges:
    return ProfileChanges()


class CreateSession(_Command):
    """Start a session; a live one of the same conversation is superseded, or kept if asked so."""

    kind: Literal["create_session"] = "create_session"
    keep_live: bool = Field(default=False, description="Answer with the live session instead of superseding it.")
    profile: Profile = Field(default_factory=no_profile)
    data: JsonObject = Field(default_factory=dict)
    metadata: JsonObject = Field(default_factory=dict)


class AppendMessage(_Command):
    """Append a message of the bot, the system or a tool."""

    kind: Literal["append_message"] = "append_message"
    message: OutboundMessage


class SendReply(_Command):
    """Append a message of the bot, and have it sent to where it goes: its address, or where the last message came from.

    One that names an address and no session begins a session where none is live, as a message from there would.
    What is to be sent is committed with it; what becomes of it is told by events. A message that is not the
    assistant's, or goes nowhere (there is no address, or it is of a program that speaks to AgentBus itself or a web
    page: platforms `api` and `web`), is appended alone.
    """

    kind: Literal["send_reply"] = "send_reply"
    message: OutboundMessage


class React(_Command):
    """Have the bot react to a message of a channel, as people do with an emoji.

    What is to be sent is committed with it, as by `SendReply`, and goes in turn with the replies; what becomes of it is
    told by the same events. To platforms `api` and `web` nothing is sent: programs and pages read the events.
    """

    kind: Literal["react"] = "react"
    message_id: Id = Field(description="The platform's id of the message that is reacted to.")
    where: Address = Field(description="Where that message is.")
    reaction: Id = Field(description="An emoji, or the platform's name of one.")


class ReportReply(_Command):
    """Say what became of a reply. What is known already changes nothing."""

    kind: Literal["report_reply"] = "report_reply"
    reply: ReplyIdField | None = Field(
        default=None, description="Without it: the reply whose last message the platform calls as `message_ids` says."
    )
    outcome: ReplyOutcome
    message_ids: PlatformIds = Field(default=(), description="What the platform calls its messages, in their order.")
    reason: Reason = Field(default="", description="Why it failed, or why nobody knows.")
    maybe_doubled: bool = Field(default=False, description="It was sent again although it may have been sent before.")
    told_at: Timestamp | None = Field(default=None, description="When it happened, by the platform's clock.")
    seen: int | None = Field(
        default=None,
        ge=1,
        description="The conversation's version that the platform shows, where it said something else.",
    )


class ResolveReply(_Command):
    """Decide about a reply of which nobody knows whether it was sent. Refused for any other."""

    kind: Literal["resolve_reply"] = "resolve_reply"
    reply: ReplyIdField
    resolution: ReplyResolution
    reason: Reason = Field(default="", description="Why, in the words of whoever decides.")


class EditMessage(_Command):
    """Change what an earlier message says."""

    kind: Literal["edit_message"] = "edit_message"
    target: Id = Field(description="The message's key as the history shows it.")
    text: Text
    attachments: Attachments = ()


class DeleteMessage(_Command):
    """Take an earlier message back."""

    kind: Literal["delete_message"] = "delete_message"
    target: Id = Field(description="The message's key as the history shows it.")


class SetData(_Command):
    """Set and remove top-level keys of the session's data."""

    kind: Literal["set_data"] = "set_data"
    values: JsonObject = Field(default_factory=dict)
    remove: Many[str] = ()


class SetMetadata(_Command):
    """Set and remove top-level keys of the session's metadata."""

    kind: Literal["set_metadata"] = "set_metadata"
    values: JsonObject = Field(default_factory=dict)
    remove: Many[str] = ()


class UpdateSession(_Command):
    """Change several things of a session at once: all of it is carried out, or nothing."""

    kind: Literal["update_session"] = "update_session"
    data: FieldChanges = Field(default_factory=_unchanged)
    metadata: FieldChanges = Field(default_factory=_unchanged)
    profile: ProfileChanges = Field(default_factory=_same_profile)
    status: SessionStatus | None = Field(default=None, description="Without it the status stays as it is.")
    seen_status: SessionStatus | None = Field(
        default=None, description="The status that the caller saw: refused if it is another one by now."
    )
    messages: Annotated[Many[OutboundMessage], Field(max_length=1000)] = ()


class ShareSession(_Command):
    """Let another user see or change the session, or no longer. Its owner alone may."""

    kind: Literal["share_session"] = "share_session"
    user: Id
    permission: Permission | None = Field(default=None, description="None: what was shared is revoked.")


class SetVisibility(_Command):
    """Say who may see the session besides those it is shared with. Its owner alone may."""

    kind: Literal["set_visibility"] = "set_visibility"
    visibility: Visibility


class ExtendSession(_Command):
    """Move the end of the session: to a moment, or by seconds from its end (from now if it had none)."""

    kind: Literal["extend_session"] = "extend_session"
    seconds: Seconds | None = None
    until: Timestamp | None = None


class RefreshSession(_Command):
    """Count as activity, and begin the session's lifetime anew if it has one."""

    kind: Literal["refresh_session"] = "refresh_session"


class TrimHistory(_Command):
    """No longer show the messages of events before this one."""

    kind: Literal["trim_history"] = "trim_history"
    before: int = Field(ge=1, le=MAX_INTEGER, description="A sequence, as the history shows it.")


class DeleteSession(_Command):
    """Delete the session, or an earlier one of its conversation."""

    kind: Literal["delete_session"] = "delete_session"


class ApplyDeadlines(_Command):
    """Expire the session, or make it idle, if its time has come; otherwise nothing happens."""

    kind: Literal["apply_deadlines"] = "apply_deadlines"


class ResetSession(_Command):
    """End the current session and start the conversation's next one."""

    kind: Literal["reset_session"] = "reset_session"
    reason: Name | None = None


class CloseSession(_Command):
    """End the current session."""

    kind: Literal["close_session"] = "close_session"
    reason: Name | None = None


class ChangeState(_Command):
    """Move the session to another status, or to a state of the installation's own: one of the two is given."""

    kind: Literal["change_state"] = "change_state"
    status: SessionStatus | None = None
    state: Id | None = None
    type: StateTransitionType | None = Field(default=None, description="Why; without it: somebody wanted it.")
    reason: Name | None = None

    @model_validator(mode="after")
    def _goes_somewhere(self) -> Self:
        if (self.status is None) is (self.state is None):
            raise ValueError("either a status or a state is needed")
        return self


class LinkIdentity(_Command):
    """Say that the conversation's sessions are those of one person, as others of the same identity are."""

    kind: Literal["link_identity"] = "link_identity"
    identity: Id


class UnlinkIdentity(_Command):
    """Say that they are not, or no longer. What was shared until now stays."""

    kind: Literal["unlink_identity"] = "unlink_identity"
    identity: Id


class MergeContext(_Command):
    """Bring in fields, and copies of messages, of a linked session; nothing happens unless this one is linked too."""

    kind: Literal["merge_context"] = "merge_context"
    identity: Id
    source: SessionIdField
    strategy: ConflictStrategy = ConflictStrategy.LATEST_WINS
    priority: Many[Platform] = ()
    operations: frozenset[SyncOperation] = Field(
        default=ALL_OPERATIONS, fail_fast=True, description="What may be done; `merge` stands for all of it."
    )
    entries: Annotated[Many[Entry], Field(max_length=10_000)] = ()
    messages: Annotated[Many[SessionMessage], Field(max_length=1000)] = ()


class AmendCopy(_Command):
    """Do to copies of a linked session's message what was done to it; messages of the conversation's own stay."""

    kind: Literal["amend_copy"] = "amend_copy"
    source: SessionIdField
    target: Id = Field(description="The message's key.")
    text: Text | None = Field(default=None, description="What it says now; none: it was deleted.")
    attachments: Attachments = ()
    version: int = Field(default=0, ge=0, description="Of several edits the highest holds, in any order.")


class ResolveConflict(_Command):
    """Choose between the values of open conflicts."""

    kind: Literal["resolve_conflict"] = "resolve_conflict"
    fields: Many[FieldPointer] = Field(default=(), description="None given: all open ones.")
    resolution: Resolution


class ExpireSession(_Command):
    """Take a step of an expiry rule, unless something has happened since it was decided, or it was taken already."""

    kind: Literal["expire_session"] = "expire_session"
    rule_id: Id
    step: int = Field(ge=-1, le=15, description="Counted from 0; -1 is the warning.")
    action: CleanupAction
    seen: int = Field(ge=1, le=MAX_INTEGER, description="The session's last event when it was decided.")
    next_at: Timestamp | None = Field(default=None, description="When the next step comes.")


class ArchiveSession(_Command):
    """Say that the session is in the archive, verified. Refused if anything happened to it after what is there."""

    kind: Literal["archive_session"] = "archive_session"
    archive: ArchiveRef


class RestoreSession(_Command):
    """Bring an archived session back; its history has been put back before."""

    kind: Literal["restore_session"] = "restore_session"
    status: SessionStatus
    digest: str = Field(pattern=r"^[0-9a-f]{64}$", description="Of the archive it comes from; refused if not this one.")
    data: KeepableObject = Field(default_factory=dict)
    metadata: KeepableObject = Field(default_factory=dict)
    stamps: dict[str, StampField] = Field(default_factory=dict)
    conflicts: Many[Conflict] | None = Field(default=None, description="Those that were open.")
    turned_down: Many[TurnedDown] | None = Field(default=None, description="What it did not take of linked sessions.")


class RestoreCommit(_Command):
    """Append a commit of a backup's, as it was: the conversation's next one. Nothing happens if it has it already."""

    kind: Literal["restore_commit"] = "restore_commit"
    restore: Id = Field(description="The restore that it is a part of.")
    commit: _AsKept[Commit]
    after: InputId | None = Field(
        default=None, description="The last input before it; refused if the conversation's is another."
    )
    heads: Many[_AsKept[SessionState]] = Field(
        default=(), description="Of sessions whose events have left the log, as this commit left them."
    )


class RestoreContent(_Command):
    """Bring what a backup has of a session into it, part by part; the last one has the status.

    Messages that the session has already are left out, and fields of which it has later values.
    """

    kind: Literal["restore_content"] = "restore_content"
    restore: Id = Field(description="The restore that it is a part of.")
    replace: bool = Field(default=False, description="In the place of all that the session has now.")
    begins: bool = Field(default=False, description="The first part: with `replace`, what was before is not shown.")
    messages: Many[_AsKept[MessageAppended]] = Field(
        default=(), description="As they read in the backup, oldest first."
    )
    status: SessionStatus | None = Field(default=None, description="With the last part: what the session is then.")
    profile: Profile | None = Field(default=None, description="What it is then; without one, as it is now.")
    data: KeepableObject = Field(default_factory=dict)
    metadata: KeepableObject = Field(default_factory=dict)
    stamps: dict[str, StampField] = Field(default_factory=dict)


class EraseConversation(_Command):
    """Forget all that the conversation's sessions hold; a redelivered old message does not bring it back."""

    kind: Literal["erase_conversation"] = "erase_conversation"


class UnblockSession(_Command):
    """Let a blocked conversation go on without the input that it waits for."""

    kind: Literal["unblock_session"] = "unblock_session"
    input: Id | None = Field(
        default=None,
        description="Go on without this one alone, if it is the next: those behind it are waited for in their order. "
        "Without it, nothing is waited for any more.",
    )


AnyCommand = (
    CreateSession
    | AppendMessage
    | EditMessage
    | DeleteMessage
    | SetData
    | SetMetadata
    | UpdateSession
    | ShareSession
    | SetVisibility
    | ExtendSession
    | RefreshSession
    | TrimHistory
    | DeleteSession
    | ApplyDeadlines
    | ResetSession
    | CloseSession
    | ChangeState
    | LinkIdentity
    | UnlinkIdentity
    | MergeContext
    | AmendCopy
    | ResolveConflict
    | ExpireSession
    | ArchiveSession
    | RestoreSession
    | RestoreCommit
    | RestoreContent
    | EraseConversation
    | UnblockSession
    | SendReply
    | React
    | ReportReply
    | ResolveReply
)
Command = Annotated[AnyCommand, Field(discriminator="kind")]


class ReplyError(Announced):
    """Why a command was not carried out."""

    code: Id = Field(description="The error's name in snake case, such as session_not_found.")
    message: str


class CommandReply(Announced):
    """The answer to a command or query: the session it left behind, what was asked for, or why not."""

    command_id: InputId
    session_id: SessionId | None = None
    version: int = Field(default=0, ge=0, description="The conversation's commits after the command.")
    message: MessageKey | None = Field(
        default=None, exclude_if=nothing, description="The key of the message that it appended, if it was one."
    )
    repeated: bool = Field(default=False, description="The command had been carried out before; nothing changed now.")
    error: ReplyError | None = None
    session: SessionState | None = Field(default=None, description="What read_session asked for.")
    history: Many[HistoryMessage] | None = Field(default=None, description="What read_history asked for.")
    cursor: str | None = Field(default=None, description="For the next page of a history; none: this was the last.")
    events: Many[str] | None = Field(
        default=None,
        exclude_if=nothing,
        description="What read_events asked for, or a part of it: each event's envelope, as it is announced.",
    )
    place: str | None = Field(
        default=None, exclude_if=nothing, description="Where these events end: hand it back for what comes after them."
    )
    more: bool | None = Field(default=None, exclude_if=nothing, description="Whether more events can be read at once.")
