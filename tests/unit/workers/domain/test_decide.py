from datetime import datetime, timedelta
from itertools import count
from typing import Any

import pytest

from agentbus.contracts.commands import (
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
)
from agentbus.contracts.envelope import Input
from agentbus.contracts.errors import (
    FutureTimestamp,
    LimitExceeded,
    SessionNotCurrent,
    SessionNotFound,
    TransitionForbidden,
)
from agentbus.contracts.events import (
    AnyEvent,
    CloseReason,
    Commit,
    DataSet,
    MessageAppended,
    MessageDeleted,
    MessageEdited,
    ReactionChanged,
    SessionClosed,
    SessionStarted,
    StartReason,
    StateChanged,
)
from agentbus.contracts.ids import SessionId, session_id_for
from agentbus.contracts.messages import (
    CommandContent,
    DeleteContent,
    EditContent,
    InboundMessage,
    Membership,
    MembershipContent,
    OutboundMessage,
    ReactionContent,
    Role,
    TextContent,
    message_key_for,
)
from agentbus.contracts.operators import Operator
from agentbus.contracts.profile import Profile
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.workers.domain.decide import decide
from agentbus.workers.domain.evolve import heads_after
from tests.harness.conversations import CONVERSATION, NOW, address, given, message

EMPTY = SessionState.empty(CONVERSATION)


def kinds(events: tuple[AnyEvent, ...]) -> list[str]:
    return [event.kind for event in events]


def after(
    state: SessionState, data: InboundMessage | AnyCommand, input_id: str | None = None, now: datetime = NOW
) -> SessionState:
    """Return the state that an input leaves, which must change it."""
    one = given(data, input_id) if input_id or isinstance(data, InboundMessage) else fresh(data)
    events = decide(state, one, now)
    assert events
    commit = Commit(conversation_id=CONVERSATION, version=state.version + 1, at=now, inputs=(one.id,), events=events)
    return heads_after(state, commit)[-1]


def fresh(data: InboundMessage | AnyCommand) -> Input:
    """Return an input with an id that was not there before."""
    return given(data, f"fresh-{next(_numbers)}")


def said(text: str = "ok", **fields: Any) -> OutboundMessage:
    return OutboundMessage(content=TextContent(text=text), **fields)


_numbers = count(1)
LIVE = after(EMPTY, message(1))


def test_first_message_starts_a_session_and_is_its_first_message() -> None:
    started, appended = decide(EMPTY, given(message(1, "hi")), NOW)
    assert isinstance(started, SessionStarted)
    assert started.reason is StartReason.MESSAGE
    assert started.session_id == session_id_for(CONVERSATION, 1)
    assert isinstance(appended, MessageAppended)
    assert (started.sequence, appended.sequence) == (1, 2)
    assert appended.message.role is Role.USER
    assert appended.routing_key == "session.message.telegram"
    assert appended.cause == message(1).input_id()


def test_an_input_that_was_applied_causes_nothing() -> None:
    assert decide(LIVE, given(message(1)), NOW) == ()


def test_chat_commands_are_kept_as_messages() -> None:
    (event,) = decide(LIVE, given(message(2, content=CommandContent(name="start", arguments="now"))), NOW)
    assert isinstance(event, MessageAppended)
    assert event.message.content == CommandContent(name="start", arguments="now")


def test_who_joined_is_a_notice_that_nobody_typed() -> None:
    joined = MembershipContent(change=Membership.JOINED, members=("bob",))
    [event] = decide(after(EMPTY, message(1)), fresh(message(2, content=joined)), NOW)
    assert isinstance(event, MessageAppended)
    assert (event.message.role, event.message.content) == (Role.SYSTEM, joined)


def test_edits_deletions_and_reactions_name_the_message_by_its_key() -> None:
    key = message_key_for(address(), "1")
    (edited,) = decide(LIVE, given(message("1e", content=EditContent(target="1", text="hullo"))), NOW)
    (deleted,) = decide(LIVE, given(message("1d", content=DeleteContent(target="1"))), NOW)
    (reacted,) = decide(LIVE, given(message("1r", content=ReactionContent(target="1", reaction="👍"))), NOW)
    assert isinstance(edited, MessageEdited)
    assert isinstance(deleted, MessageDeleted)
    assert isinstance(reacted, ReactionChanged)
    assert edited.target == deleted.target == reacted.target == key
    assert reacted.user == "ada"


def test_reset_ends_one_session_and_starts_the_next_in_one_decision() -> None:
    closed, started = decide(LIVE, given(ResetSession(reason="enough")), NOW)
    assert isinstance(closed, SessionClosed)
    assert (closed.why, closed.session_id) == (CloseReason.RESET, LIVE.session_id)
    assert isinstance(started, SessionStarted)
    assert (started.session_id, started.sequence) == (session_id_for(CONVERSATION, 2), 1)
    assert started.previous == LIVE.session_id


def test_a_message_after_the_close_starts_the_next_session() -> None:
    closed = after(LIVE, CloseSession())
    assert closed.status is SessionStatus.CLOSED
    assert after(closed, message(2)).generation == 2


@pytest.mark.parametrize("status", [SessionStatus.EXPIRED, SessionStatus.ARCHIVED])
def test_a_message_after_the_end_starts_the_next_session(status: SessionStatus) -> None:
    assert after(after(LIVE, ChangeState(status=status)), message(2)).generation == 2


def test_a_message_wakes_an_idle_session_and_leaves_a_suspended_one_suspended() -> None:
    idle = after(LIVE, ChangeState(status=SessionStatus.IDLE))
    woken, _ = decide(idle, given(message(2)), NOW)
    assert isinstance(woken, StateChanged)
    assert woken.status is SessionStatus.ACTIVE
    suspended = after(LIVE, ChangeState(status=SessionStatus.SUSPENDED))
    assert after(suspended, message(2)).status is SessionStatus.SUSPENDED


def test_create_supersedes_a_live_session_unless_asked_to_keep_it() -> None:
    closed, started = decide(LIVE, given(CreateSession(address=address(), data={"a": 1})), NOW)
    assert isinstance(closed, SessionClosed)
    assert closed.why is CloseReason.SUPERSEDED
    assert isinstance(started, SessionStarted)
    assert started.data == {"a": 1}
    assert decide(LIVE, given(CreateSession(address=address(), keep_live=True)), NOW) == ()


def test_create_needs_no_address() -> None:
    (started,) = decide(EMPTY, given(CreateSession()), NOW)
    assert isinstance(started, SessionStarted)
    assert started.routing_key == "session.started.none"


def test_bot_message_goes_to_where_the_last_message_came_from() -> None:
    (event,) = decide(LIVE, given(AppendMessage(message=said("hello back")), "reply-1"), NOW)
    assert isinstance(event, MessageAppended)
    assert event.message.address == address()
    assert event.message.message_id == "reply-1"
    assert event.routing_key == "session.reply.telegram"


def test_a_bot_message_does_not_move_the_sessions_address() -> None:
    elsewhere = address(chat="other")
    assert after(LIVE, AppendMessage(message=said("psst", address=elsewhere))).address == address()


def test_data_is_set_and_removed() -> None:
    state = after(after(LIVE, SetData(values={"a": 1, "b": 2})), SetData(values={"c": 3}, remove=("a",)))
    assert state.data == {"b": 2, "c": 3}
    assert after(state, SetMetadata(values={"k": "v"})).metadata == {"k": "v"}


def test_data_may_not_outgrow_the_head() -> None:
    state = LIVE
    for number in range(4):
        state = after(state, SetData(values={f"k{number}": "x" * 250_000}))
    with pytest.raises(LimitExceeded, match="limit is 1048576"):
        decide(state, given(SetData(values={"last": "x" * 250_000}), "set-last"), NOW)


def test_edit_and_delete_work_on_a_closed_session_too() -> None:
    closed = after(LIVE, CloseSession())
    assert kinds(decide(closed, given(EditMessage(target="k", text="new")), NOW)) == ["message_edited"]
    assert kinds(decide(closed, given(DeleteMessage(target="k")), NOW)) == ["message_deleted"]


@pytest.mark.parametrize("command", [SetData(), AppendMessage(message=said()), CloseSession()])
def test_commands_to_an_ended_session_are_refused(command: AnyCommand) -> None:
    with pytest.raises(SessionNotFound, match="closed"):
        decide(after(LIVE, CloseSession()), given(command, "late"), NOW)


@pytest.mark.parametrize("command", [SetData(), ResetSession(), EditMessage(target="k", text="")])
def test_commands_to_a_conversation_without_session_are_refused(command: AnyCommand) -> None:
    with pytest.raises(SessionNotFound):
        decide(EMPTY, given(command), NOW)


def test_a_command_for_an_earlier_session_is_refused() -> None:
    second = after(LIVE, ResetSession())
    with pytest.raises(SessionNotCurrent):
        decide(second, given(SetData(session_id=SessionId(f"{CONVERSATION}.1"), values={"a": 1})), NOW)


def test_a_command_for_another_conversations_session_is_refused() -> None:
    with pytest.raises(SessionNotFound, match="in conversation a"):
        decide(LIVE, given(SetData(session_id=SessionId(f"{'b' * 26}.1"), values={"a": 1})), NOW)


def test_no_way_leads_back_to_life() -> None:
    closed = after(LIVE, CloseSession())
    with pytest.raises(TransitionForbidden, match="from closed to active"):
        decide(closed, given(ChangeState(status=SessionStatus.ACTIVE)), NOW)


def test_a_message_from_the_future_is_invalid_and_one_within_tolerance_is_not() -> None:
    assert decide(LIVE, given(message(2, sent_at=NOW + timedelta(minutes=5))), NOW)
    with pytest.raises(FutureTimestamp, match="clocks may differ"):
        decide(LIVE, given(message(3, sent_at=NOW + timedelta(minutes=6))), NOW)


def test_data_event_tells_what_was_removed() -> None:
    state = after(LIVE, SetData(values={"gone": 1, "kept": 2}))
    (event,) = decide(state, fresh(SetData(values={"new": 3}, remove=("gone", "never there"))), NOW)
    assert isinstance(event, DataSet)
    assert (event.values, event.removed) == ({"new": 3}, ("gone",))


def test_a_key_that_is_both_set_and_removed_is_removed() -> None:
    state = after(LIVE, SetData(values={"a": 1}))
    (event,) = decide(state, fresh(SetData(values={"a": 2}, remove=("a",))), NOW)
    assert isinstance(event, DataSet)
    assert (event.values, event.removed) == ({}, ("a",))


def test_a_session_started_by_a_message_belongs_to_who_wrote_it() -> None:
    assert LIVE.profile.owner == "ada"
    assert after(after(LIVE, CloseSession()), message(2, user="bob")).profile.owner == "bob"


def test_an_outgoing_message_keeps_its_id_and_moment_if_it_has_them() -> None:
    sent_at = NOW - timedelta(days=1)
    mine, plain = said(message_id="mine", sent_at=sent_at), said()
    (event,) = decide(LIVE, given(AppendMessage(message=mine), "say"), NOW)
    assert isinstance(event, MessageAppended)
    assert (event.message.message_id, event.message.sent_at) == ("mine", sent_at)
    (event,) = decide(LIVE, given(AppendMessage(message=plain), "say"), NOW)
    assert isinstance(event, MessageAppended)
    assert (event.message.message_id, event.message.sent_at) == ("say", NOW)


def test_an_event_tells_the_user_on_whose_behalf_the_command_was_given() -> None:
    for event in decide(LIVE, fresh(ResetSession(actor="ada")), NOW):
        assert event.actor == "ada"
    (event,) = decide(LIVE, fresh(SetData(values={"a": 1})), NOW)
    assert event.actor is None


def test_an_event_tells_who_had_the_command_given_and_what_came_of_itself_does_not() -> None:
    operator = Operator(key="k1")
    for event in decide(LIVE, fresh(ResetSession(by=operator)), NOW):
        assert (event.actor, event.by) == (None, operator)
    ending = after(EMPTY, CreateSession(address=address(), profile=Profile(owner="ada", expires_at=NOW)), now=NOW)
    expired, *caused = decide(ending, fresh(CreateSession(address=address(), by=operator)), NOW)
    assert (expired.kind, expired.by) == ("state_changed", None)
    assert {event.by for event in caused} == {operator}
