"""The table of commands: a row each, no dead one, no column that says the same of all; decisions go by it."""

from collections.abc import Callable
from dataclasses import fields, replace
from typing import get_args

import pytest

from agentbus.contracts import commands
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
from agentbus.contracts.errors import AccessDenied, ConversationBlocked, Refused, SessionNotCurrent, SessionNotFound
from agentbus.contracts.events import Commit, StateChanged
from agentbus.contracts.expiry import ArchiveRef, CleanupAction
from agentbus.contracts.ids import ConversationId, InputId, session_id_for
from agentbus.contracts.profile import Permission, Profile, Visibility
from agentbus.contracts.replies import ReplyOutcome, ReplyResolution, reply_id_for
from agentbus.contracts.session import FailurePolicy, SessionState, SessionStatus
from agentbus.contracts.sync import Resolution
from agentbus.workers.domain import rules
from agentbus.workers.domain.access import Right
from agentbus.workers.domain.admission.blocking import block
from agentbus.workers.domain.admission.target import about_another
from agentbus.workers.domain.decide import decide
from agentbus.workers.domain.draft import Draft
from agentbus.workers.domain.evolve import evolve
from agentbus.workers.domain.rules import RULES, TABLE, Earlier, Needs, Rule, rule_of
from tests.harness.conversations import CONVERSATION, NOW, address
from tests.unit.workers.domain.test_decide import EMPTY, after, fresh, said

FIRST = session_id_for(CONVERSATION, 1)
SOURCE = session_id_for(ConversationId("b" * 26), 1)
DIGEST = "0" * 64

COMMANDS: tuple[AnyCommand, ...] = (
    CreateSession(),
    AppendMessage(message=said()),
    EditMessage(target="k", text="new"),
    DeleteMessage(target="k"),
    SetData(values={"a": 1}),
    SetMetadata(values={"a": 1}),
    UpdateSession(),
    UpdateSession(status=SessionStatus.SUSPENDED),
    UpdateSession(status=SessionStatus.ARCHIVED),
    ShareSession(user="eve", permission=Permission.READ),
    SetVisibility(visibility=Visibility.PUBLIC),
    ExtendSession(seconds=60),
    RefreshSession(),
    TrimHistory(before=2),
    DeleteSession(),
    ApplyDeadlines(),
    ResetSession(),
    CloseSession(),
    ChangeState(status=SessionStatus.SUSPENDED),
    ChangeState(status=SessionStatus.CLOSED),
    LinkIdentity(identity="ann"),
    UnlinkIdentity(identity="ann"),
    MergeContext(identity="ann", source=SOURCE),
    AmendCopy(source=SOURCE, target="k"),
    ResolveConflict(resolution=Resolution(take_offered=True)),
    ExpireSession(rule_id="rule", step=0, action=CleanupAction.EXPIRE, seen=1),
    ArchiveSession(archive=ArchiveRef(url="memory://a", digest=DIGEST, sequence=1, messages=0, at=NOW)),
    RestoreSession(status=SessionStatus.CLOSED, digest=DIGEST),
    RestoreCommit(restore="r", commit=Commit(conversation_id=CONVERSATION, version=9, at=NOW, inputs=(), events=())),
    RestoreContent(restore="r"),
    EraseConversation(),
    UnblockSession(),
    SendReply(message=said()),
    React(message_id="5", where=address(), reaction="👍"),
    ReportReply(reply=reply_id_for(FIRST, 3), outcome=ReplyOutcome.SENT),
    ResolveReply(reply=reply_id_for(FIRST, 3), resolution=ReplyResolution.SENT),
)
LIVE = after(EMPTY, CreateSession(address=address(), profile=Profile(owner="ada", shares={"bob": Permission.WRITE})))
SECOND = after(LIVE, ResetSession())
IDLE = LIVE.model_copy(update={"status": SessionStatus.IDLE})
THERE = {
    Needs.NOTHING: EMPTY,
    Needs.ANY: after(LIVE, DeleteSession()),
    Needs.ENDED: after(LIVE, CloseSession()),
    Needs.LIVE: LIVE,
}
"""The least state for each need."""

Handled = list[tuple[Draft, SessionState, AnyCommand]]


def kind_of(command: AnyCommand) -> str:
    return command.kind


every_command = pytest.mark.parametrize("command", COMMANDS, ids=kind_of)


@pytest.fixture
def handled(monkeypatch: pytest.MonkeyPatch) -> Handled:
    """Return what the handlers are called with; they do nothing, so that what is refused is so by the rules."""
    calls: Handled = []

    def noting(kind: type[Contract]) -> Callable[[Draft, SessionState, AnyCommand], None]:
        def handler(draft: Draft, state: SessionState, command: AnyCommand) -> None:
            assert type(command) is kind
            calls.append((draft, state, command))

        return handler

    monkeypatch.setattr(rules, "RULES", {kind: replace(row, handler=noting(kind)) for kind, row in RULES.items()})
    return calls


def refusal_of(state: SessionState, command: AnyCommand) -> type[Refused] | None:
    try:
        decide(state, fresh(command), NOW)
    except Refused as error:
        return type(error)
    return None


def test_every_command_has_a_row_and_every_row_a_command() -> None:
    there = {one for one in vars(commands).values() if isinstance(one, type) and issubclass(one, Contract)}
    named = {one for one in there if one.__module__ == commands.__name__ and "kind" in one.model_fields}
    assert set(RULES) == set(get_args(AnyCommand)) == named
    assert len(RULES) == len(TABLE), "a command has two rows, of which one is dead"
    assert {type(command) for command in COMMANDS} == named, "a command of which this file has no example"


def test_no_two_commands_do_the_same_and_no_column_says_the_same_of_all() -> None:
    assert len({row.handler for row in TABLE}) == len(TABLE)
    dead = [one.name for one in fields(Rule) if len({getattr(row, one.name) for row in TABLE}) == 1]
    assert dead == []
    used = {kind: {getattr(row, name) for row in TABLE} for kind, name in ((Needs, "needs"), (Earlier, "earlier"))}
    assert used == {kind: set(kind) for kind in used}


@every_command
def test_what_may_be_carried_out_comes_to_its_handler(handled: Handled, command: AnyCommand) -> None:
    state = THERE[rule_of(command).needs]
    decide(state, fresh(command), NOW)
    ((draft, seen, given),) = handled
    assert (draft.at, seen, given) == (NOW, state, command)


@every_command
@pytest.mark.parametrize("there", Needs)
def test_a_command_needs_what_its_row_says(handled: Handled, command: AnyCommand, there: Needs) -> None:
    enough = rule_of(command).needs <= there
    assert refusal_of(THERE[there], command) is (None if enough else SessionNotFound)
    assert bool(handled) is enough


@every_command
def test_an_earlier_session_is_for_those_whose_row_says_so(handled: Handled, command: AnyCommand) -> None:
    row = rule_of(command)
    about = command.model_copy(update={"session_id": FIRST})
    taken = row.earlier is not Earlier.REFUSED or row.needs is Needs.NOTHING
    assert refusal_of(SECOND, about) is (None if taken else SessionNotCurrent)
    assert bool(handled) is taken
    assert about_another(SECOND, about) == (FIRST if row.earlier is Earlier.ITSELF else None)


@every_command
def test_a_block_is_passed_by_those_whose_row_says_so(handled: Handled, command: AnyCommand) -> None:
    (blocked,) = block(LIVE, InputId("bad"), "future_timestamp", NOW, default=FailurePolicy.BLOCK)
    passes = rule_of(command).beside
    assert refusal_of(evolve(LIVE, blocked), command) is (None if passes else ConversationBlocked)
    assert bool(handled) is passes


@every_command
@pytest.mark.usefixtures("handled")
def test_an_idle_session_wakes_by_those_whose_row_says_so(command: AnyCommand) -> None:
    events = decide(IDLE, fresh(command), NOW)
    woken = [one.status for one in events if isinstance(one, StateChanged)]
    assert woken == ([SessionStatus.ACTIVE] if rule_of(command).wakes(command) else [])


@every_command
def test_a_writer_is_refused_what_is_for_owners_and_what_ends_the_session(
    handled: Handled, command: AnyCommand
) -> None:
    row = rule_of(command)
    owners = row.right is Right.OWN or row.ends(LIVE.profile, command)
    assert refusal_of(LIVE, command.model_copy(update={"actor": "bob"})) is (AccessDenied if owners else None)
    assert bool(handled) is not owners
    assert refusal_of(LIVE, command.model_copy(update={"actor": "ada"})) is None
