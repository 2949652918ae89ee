"""What holds for each command, a row a command: who may give it, to which sessions, past what, and what it does.

To add a command: its class in `agentbus.contracts.commands`, what it causes in `agentbus.workers.domain.commands`, a
row here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, IntEnum
from typing import Any, Final, TypeVar

from agentbus.contracts.base import Contract
from agentbus.contracts.commands import (
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
    React,
    RefreshSession,
    ReportReply,
    ResetSession,
    ResolveConflict,
    ResolveReply,
    RestoreCommit,
    RestoreContent,
    RestoreSession,
    SendReply,
    SetData,
    SetMetadata,
    SetVisibility,
    ShareSession,
    TrimHistory,
    UnblockSession,
    UnlinkIdentity,
    UpdateSession,
)
from agentbus.contracts.profile import Profile
from agentbus.contracts.session import SessionState
from agentbus.workers.domain.access import Right
from agentbus.workers.domain.commands.backed_up import restore_commit, restore_content
from agentbus.workers.domain.commands.content import (
    append_message,
    delete_message,
    edit_message,
    extend_session,
    refresh_session,
    set_data,
    set_metadata,
    set_visibility,
    share_session,
    trim_history,
    update_session,
)
from agentbus.workers.domain.commands.endings import (
    archive_session,
    delete_session,
    erase_conversation,
    expire_session,
    restore_session,
)
from agentbus.workers.domain.commands.lifecycle import (
    apply_deadlines,
    change_state,
    close_session,
    create_session,
    reset_session,
    unblock_session,
)
from agentbus.workers.domain.commands.replies import react, report_reply, resolve_reply, send_reply
from agentbus.workers.domain.draft import Draft
from agentbus.workers.domain.sync.linking import (
    amend_copy,
    link_identity,
    merge_context,
    resolve_conflict,
    unlink_identity,
)

C = TypeVar("C", bound=AnyCommand)
Bound = TypeVar("Bound", datetime, float)


class Needs(IntEnum):
    """What has to be there of a conversation's current session; who needs less is content with more."""

    NOTHING = 0
    """It begins one, or comes to nothing without one."""
    ANY = 1
    """A session, be it deleted."""
    ENDED = 2
    """One that was not deleted, be it over."""
    LIVE = 3
    """A live one."""


class Earlier(Enum):
    """What becomes of a command that names an earlier session than the conversation's current one."""

    REFUSED = "refused"
    """It is not for such."""
    CONVERSATION = "conversation"
    """It is done to the conversation, whichever of its sessions is named."""
    ITSELF = "itself"
    """It is done to that session, and to that one alone: its head is read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A command's row."""

    command: type[Contract]
    handler: Callable[[Draft, SessionState, Any], None]
    """Adds the events that it causes. Raises Refused where the change itself is against a rule."""
    right: Right
    """What the user whom it is done for needs."""
    ends: Callable[[Profile, Any], bool]
    """Whether it ends a session, or brings its end nearer: nothing leads back, so the owner has to say so."""
    needs: Needs
    earlier: Earlier
    beside: bool
    """Whether it passes a blocked conversation: what AgentBus does with one comes from nobody in it."""
    wakes: Callable[[Any], bool]
    """Whether it counts as activity, which makes an idle session active."""
    by_callers: bool
    """Whether callers choose its id; of our own workers' commands an id is made of what they say."""
    background: bool
    """Whether it comes by the thousand and nobody waits for it: what other conversations are sent goes before it."""


def _never(*_: object) -> bool:
    return False


def _always(_: object) -> bool:
    return True


def _rule(
    command: type[C],
    handler: Callable[[Draft, SessionState, C], None],
    *,
    right: Right = Right.WRITE,
    ends: Callable[[Profile, C], bool] = _never,
    needs: Needs = Needs.LIVE,
    earlier: Earlier = Earlier.REFUSED,
    beside: bool = False,
    wakes: Callable[[C], bool] = _never,
    by_callers: bool = False,
    background: bool = False,
) -> Rule:
    return Rule(
        command=command,
        handler=handler,
        right=right,
        ends=ends,
        needs=needs,
        earlier=earlier,
        beside=beside,
        wakes=wakes,
        by_callers=by_callers,
        background=background,
    )


def _leaves_life(_: Profile, command: ChangeState) -> bool:
    return command.status is None or not command.status.is_live  # of a state that nobody knows no less is asked


def _sets_an_end(profile: Profile, command: ExtendSession) -> bool:
    return profile.expires_at is None or _is_less(command.until, profile.expires_at)


def _ends_sooner(profile: Profile, command: UpdateSession) -> bool:
    ended = command.status is not None and not command.status.is_live
    sooner = _is_less(command.profile.expires_at, profile.expires_at)
    return ended or sooner or _is_less(command.profile.lifetime, profile.lifetime)


def _is_less(wanted: Bound | None, held: Bound | None) -> bool:
    """Whether a bound is set that is tighter than the one there is, if there is one."""
    return wanted is not None and (held is None or wanted < held)


_OWN: Final = Right.OWN
_CONVERSATION: Final = Earlier.CONVERSATION
_ITSELF: Final = Earlier.ITSELF

TABLE: Final = (
    _rule(CreateSession, create_session, right=_OWN, needs=Needs.NOTHING, by_callers=True),
    _rule(AppendMessage, append_message, wakes=_always, by_callers=True),
    _rule(SendReply, send_reply, wakes=_always, by_callers=True),
    _rule(React, react, wakes=_always, by_callers=True),
    _rule(ReportReply, report_reply, right=_OWN, needs=Needs.NOTHING, earlier=_CONVERSATION, beside=True),
    _rule(ResolveReply, resolve_reply, right=_OWN, needs=Needs.ANY, earlier=_CONVERSATION, beside=True),
    _rule(EditMessage, edit_message, needs=Needs.ENDED),
    _rule(DeleteMessage, delete_message, needs=Needs.ENDED),
    _rule(SetData, set_data),
    _rule(SetMetadata, set_metadata),
    _rule(
        UpdateSession,
        update_session,
        ends=_ends_sooner,
        wakes=lambda command: command.status is None,
        by_callers=True,
    ),
    _rule(ShareSession, share_session, right=_OWN, by_callers=True),
    _rule(SetVisibility, set_visibility, right=_OWN, by_callers=True),
    _rule(ExtendSession, extend_session, ends=_sets_an_end, by_callers=True),
    _rule(RefreshSession, refresh_session, wakes=_always, by_callers=True),
    _rule(TrimHistory, trim_history, by_callers=True),
    _rule(DeleteSession, delete_session, right=_OWN, needs=Needs.ENDED, earlier=_ITSELF, by_callers=True),
    _rule(ApplyDeadlines, apply_deadlines, right=_OWN, needs=Needs.ENDED, background=True),
    _rule(ResetSession, reset_session, needs=Needs.ANY, by_callers=True),
    _rule(CloseSession, close_session, right=_OWN, by_callers=True),
    _rule(ChangeState, change_state, ends=_leaves_life, needs=Needs.ENDED, by_callers=True),
    _rule(LinkIdentity, link_identity, right=_OWN, needs=Needs.ENDED, earlier=_CONVERSATION),
    _rule(UnlinkIdentity, unlink_identity, right=_OWN, needs=Needs.ANY, earlier=_CONVERSATION),
    _rule(MergeContext, merge_context, right=_OWN, needs=Needs.ANY, earlier=_CONVERSATION, beside=True),
    _rule(AmendCopy, amend_copy, right=_OWN, needs=Needs.ANY, earlier=_CONVERSATION, beside=True),
    _rule(ResolveConflict, resolve_conflict, right=_OWN),
    _rule(ExpireSession, expire_session, right=_OWN, needs=Needs.ANY, earlier=_ITSELF, beside=True, background=True),
    _rule(
        ArchiveSession, archive_session, right=_OWN, needs=Needs.ENDED, earlier=_ITSELF, beside=True, background=True
    ),
    _rule(RestoreSession, restore_session, right=_OWN, needs=Needs.ENDED, earlier=_ITSELF, beside=True),
    _rule(RestoreCommit, restore_commit, right=_OWN, needs=Needs.NOTHING, beside=True, background=True),
    _rule(RestoreContent, restore_content, right=_OWN, needs=Needs.ANY, earlier=_ITSELF, beside=True, background=True),
    _rule(EraseConversation, erase_conversation, right=_OWN, needs=Needs.ANY, beside=True),
    _rule(UnblockSession, unblock_session, right=_OWN, needs=Needs.ENDED, beside=True),
)

RULES: Final[Mapping[type[Contract], Rule]] = {row.command: row for row in TABLE}

BACKGROUND: Final = frozenset(row.command for row in TABLE if row.background)
"""The commands that what people send goes before."""


def rule_of(command: AnyCommand) -> Rule:
    """Return the row of a command."""
    return RULES[type(command)]
