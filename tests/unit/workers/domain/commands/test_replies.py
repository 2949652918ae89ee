"""Replies: what is to be sent is committed with what was said, and what became of it is told once."""

from datetime import timedelta

import pytest

from agentbus.contracts.address import Platform
from agentbus.contracts.commands import (
    AnyCommand,
    AppendMessage,
    ArchiveSession,
    CloseSession,
    CreateSession,
    DeleteMessage,
    DeleteSession,
    EditMessage,
    EraseConversation,
    ExpireSession,
    React,
    ReportReply,
    ResetSession,
    ResolveReply,
    SendReply,
)
from agentbus.contracts.errors import AccessDenied, RepliesWaiting, ReplyNotFound, RequestReused, SessionNotFound
from agentbus.contracts.events import (
    Commit,
    MessageAppended,
    ReactionChanged,
    ReplyFailed,
    ReplyRequested,
    ReplySent,
    SessionStarted,
    StartReason,
)
from agentbus.contracts.expiry import ArchiveRef, CleanupAction
from agentbus.contracts.ids import MessageKey
from agentbus.contracts.messages import Role, message_key_for, said_key
from agentbus.contracts.replies import (
    MAX_CHANGEABLE,
    MAX_OPEN_REPLIES,
    SENT_REPLIES,
    OutgoingReply,
    ReplyId,
    ReplyOutcome,
    ReplyResolution,
    ReplyState,
    reply_id_for,
)
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.workers.domain.decide import decide
from agentbus.workers.domain.repeats import check_same
from agentbus.workers.domain.replies import open_replies, waiting_replies
from agentbus.workers.domain.said import keys_said
from agentbus.workers.domain.stripping import stripped
from tests.harness.conversations import CONVERSATION, NOW, address, given, message
from tests.unit.workers.domain.test_decide import EMPTY, LIVE, after, fresh, kinds, said

ASKED = after(LIVE, SendReply(message=said("hello")))
FIRST = ASKED.replies[0].reply_id


def reported(outcome: ReplyOutcome, reply: ReplyId | None = FIRST, **more: object) -> ReportReply:
    return ReportReply.model_validate({"reply": reply, "outcome": outcome, **more})


def resolved(resolution: ReplyResolution, reply: ReplyId = FIRST) -> ResolveReply:
    return ResolveReply(reply=reply, resolution=resolution)


def states(state: SessionState) -> list[ReplyState]:
    return [one.state for one in state.replies]


SENT = after(ASKED, reported(ReplyOutcome.SENT, message_ids=["7"]))
KEY = str(ASKED.replies[0].message)


def shown(reply: OutgoingReply) -> tuple[ReplyState, int | None]:
    return reply.state, reply.changed_at


def test_a_reply_that_was_sent_and_says_something_else_now_is_to_be_changed() -> None:
    assert kinds(decide(SENT, fresh(EditMessage(target=KEY, text="new")), NOW)) == [
        "message_edited",
        "reply_change_requested",
    ]
    assert kinds(decide(SENT, fresh(DeleteMessage(target=KEY)), NOW)) == ["message_deleted", "reply_change_requested"]
    assert kinds(decide(SENT, fresh(EditMessage(target="another", text="new")), NOW)) == ["message_edited"]
    edited = after(SENT, EditMessage(target=KEY, text="new"))
    assert shown(edited.replies[0]) == (ReplyState.CHANGED, edited.version)
    assert (waiting_replies(edited), open_replies(edited)) == (edited.replies, ())


@pytest.mark.parametrize("outcome", [ReplyOutcome.EDITED, ReplyOutcome.UNCHANGED])
def test_it_is_done_once_the_platform_shows_the_last_change(outcome: ReplyOutcome) -> None:
    first = after(SENT, EditMessage(target=KEY, text="new"))
    second = after(first, EditMessage(target=KEY, text="newer"))
    late = after(second, reported(outcome, seen=first.version))
    assert shown(late.replies[0]) == (ReplyState.CHANGED, second.version)
    assert shown(after(late, reported(outcome, seen=second.version)).replies[0]) == (ReplyState.SENT, None)


def test_what_changes_while_it_is_being_sent_is_changed_afterwards_unless_that_was_sent() -> None:
    edited = after(ASKED, EditMessage(target=KEY, text="new"))
    assert shown(edited.replies[0]) == (ReplyState.WAITING, edited.version)
    sent = reported(ReplyOutcome.SENT, message_ids=["7"], seen=edited.version)
    assert shown(after(edited, sent).replies[0]) == (ReplyState.SENT, None)
    before = reported(ReplyOutcome.SENT, message_ids=["7"], seen=edited.version - 1)
    assert shown(after(edited, before).replies[0]) == (ReplyState.CHANGED, edited.version)


@pytest.mark.parametrize("ids", [[], [str(number) for number in range(MAX_CHANGEABLE + 1)]])
def test_what_nobody_can_change_is_not_to_be_changed(ids: list[str]) -> None:
    sent = after(ASKED, reported(ReplyOutcome.SENT, message_ids=ids))
    assert kinds(decide(sent, fresh(EditMessage(target=KEY, text="new")), NOW)) == ["message_edited"]


def test_a_reply_of_several_messages_is_remembered_with_all_of_them() -> None:
    sent = after(ASKED, reported(ReplyOutcome.SENT, message_ids=["7", "8", "9"]))
    assert (sent.replies[0].earlier_ids, sent.replies[0].message_id) == (("7", "8"), "9")


def test_a_reply_is_said_and_asked_to_be_sent_in_one_go() -> None:
    said_now, asked = decide(LIVE, fresh(SendReply(message=said("hello"))), NOW)
    assert isinstance(said_now, MessageAppended)
    assert isinstance(asked, ReplyRequested)
    assert (asked.message, asked.to) == (said_now.message.key, address())
    assert (said_now.routing_key, asked.routing_key) == ("session.reply.telegram", "session.outbox.telegram")
    assert asked.reply_id == asked.event_id == FIRST


def test_the_head_says_where_in_the_log_an_open_reply_is() -> None:
    assert ASKED.replies == (
        OutgoingReply(
            session_id=ASKED.session_id,
            sequence=ASKED.sequence,
            version=ASKED.version,
            at=NOW,
            platform=Platform.TELEGRAM,
            message=MessageKey(KEY),
        ),
    )
    assert waiting_replies(ASKED) == open_replies(ASKED) == ASKED.replies


@pytest.mark.parametrize(
    ("state", "message_"),
    [
        (LIVE, said("a result", role=Role.TOOL)),
        (LIVE, said("to a program", address=address(platform=Platform.API))),
        (LIVE, said("to a page", address=address(platform=Platform.WEB))),
        (after(EMPTY, CreateSession()), said("to nobody")),
    ],
    ids=["of a tool", "to a program", "to a page", "without an address"],
)
def test_what_goes_nowhere_is_said_alone(state: SessionState, message_: object) -> None:
    assert kinds(decide(state, fresh(SendReply.model_validate({"message": message_})), NOW)) == ["message_appended"]


def test_a_reply_needs_a_live_session() -> None:
    with pytest.raises(SessionNotFound):
        decide(after(LIVE, CloseSession()), fresh(SendReply(message=said())), NOW)


@pytest.mark.parametrize("before", [EMPTY, after(LIVE, CloseSession())], ids=["never spoken to", "closed"])
def test_what_is_said_to_a_chat_first_begins_a_session_as_a_message_would(before: SessionState) -> None:
    command = SendReply(address=address(), message=said("good morning"))
    state = after(before, command, "first")
    assert (state.is_live, state.generation, state.address) == (True, before.generation + 1, address())
    assert state.profile.owner == address().user
    events = decide(before, given(command, "first"), NOW)
    assert kinds(events) == ["session_started", "message_appended", "reply_requested"]
    assert isinstance(events[0], SessionStarted)
    assert events[0].reason is StartReason.MESSAGE
    assert isinstance(events[2], ReplyRequested)
    assert events[2].to == address()
    assert events[0].reason is decide(before, given(message(1), "in"), NOW)[0].reason  # type: ignore[union-attr]  # it begins one too
    check_same(command, events)
    assert decide(state, given(command, "first"), NOW) == ()


def test_in_a_live_session_it_is_said_there_and_who_names_a_session_begins_none() -> None:
    assert kinds(decide(LIVE, fresh(SendReply(address=address(), message=said())), NOW))[0] == "message_appended"
    closed = after(LIVE, CloseSession())
    with pytest.raises(SessionNotFound):
        decide(closed, fresh(SendReply(address=address(), session_id=LIVE.session_id, message=said())), NOW)


def test_a_user_who_may_not_write_there_begins_nothing() -> None:
    for before in (EMPTY, after(LIVE, CloseSession())):
        with pytest.raises(AccessDenied):
            decide(before, fresh(SendReply(address=address(), actor="eve", message=said())), NOW)


def test_a_message_with_an_id_that_began_a_session_is_said_once() -> None:
    command = SendReply(address=address(), message=said("good morning", message_id="m"))
    state = after(EMPTY, command)
    assert keys_said(EMPTY, command) == keys_said(state, command) == (said_key(state.session_id, "m"),)


def test_a_conversation_has_room_for_so_many_open_replies() -> None:
    state = LIVE
    for _ in range(MAX_OPEN_REPLIES):
        state = after(state, SendReply(message=said()))
    with pytest.raises(RepliesWaiting, match="is an outbound worker running"):
        decide(state, fresh(SendReply(message=said())), NOW)
    assert decide(state, fresh(AppendMessage(message=said())), NOW)
    assert decide(state, fresh(SendReply(message=said("a result", role=Role.TOOL))), NOW)
    one_less = after(state, reported(ReplyOutcome.SENT, state.replies[0].reply_id))
    assert decide(one_less, fresh(SendReply(message=said())), NOW)


def test_what_was_sent_is_told_once_with_the_platforms_ids() -> None:
    (sent,) = decide(ASKED, fresh(reported(ReplyOutcome.SENT, message_ids=("1", "2"))), NOW)
    assert isinstance(sent, ReplySent)
    assert (sent.reply, sent.message_ids, sent.maybe_doubled, sent.resolved) == (FIRST, ("1", "2"), False, False)
    state = after(ASKED, reported(ReplyOutcome.SENT, message_ids=("1", "2")))
    assert [(one.state, one.message_id) for one in state.replies] == [(ReplyState.SENT, "2")]
    assert not open_replies(state)
    assert not decide(state, fresh(reported(ReplyOutcome.SENT, message_ids=("3",))), NOW)
    assert not decide(state, fresh(reported(ReplyOutcome.UNKNOWN)), NOW)


def test_of_what_was_sent_the_last_are_remembered_and_all_that_is_open() -> None:
    state = ASKED
    for _ in range(SENT_REPLIES + 1):
        state = after(state, SendReply(message=said()))
        state = after(state, reported(ReplyOutcome.SENT, state.replies[-1].reply_id))
    assert states(state) == [ReplyState.WAITING] + SENT_REPLIES * [ReplyState.SENT]
    assert not decide(state, fresh(reported(ReplyOutcome.SENT, reply_id_for(LIVE.session_id, 999))), NOW)


@pytest.mark.parametrize(("outcome", "told"), [("delivered", "reply_delivered"), ("read", "reply_read")])
def test_what_a_platform_tells_of_its_own_message_finds_the_reply(outcome: str, told: str) -> None:
    sent = after(ASKED, reported(ReplyOutcome.SENT, message_ids=("1", "2")))
    assert kinds(decide(sent, fresh(reported(ReplyOutcome(outcome), None, message_ids=("2",))), NOW)) == [told]
    assert not decide(sent, fresh(reported(ReplyOutcome(outcome), None, message_ids=("9",))), NOW)
    assert not decide(sent, fresh(reported(ReplyOutcome(outcome), None)), NOW)


def test_what_was_delivered_was_sent() -> None:
    unknown = after(ASKED, reported(ReplyOutcome.UNKNOWN, reason="the connection died"))
    events = decide(unknown, fresh(reported(ReplyOutcome.DELIVERED, message_ids=("7",))), NOW)
    assert kinds(events) == ["reply_sent", "reply_delivered"]


def test_what_failed_is_closed_also_after_the_platform_had_taken_it() -> None:
    for state in (ASKED, after(ASKED, reported(ReplyOutcome.SENT, message_ids=("1",)))):
        failed = after(state, reported(ReplyOutcome.FAILED, reason="the chat is gone"))
        assert failed.replies == ()
        assert not decide(failed, fresh(reported(ReplyOutcome.FAILED)), NOW)


def test_a_reply_of_unknown_outcome_waits_for_somebody_to_decide() -> None:
    unknown = after(ASKED, reported(ReplyOutcome.UNKNOWN, reason="the connection died"))
    assert states(unknown) == [ReplyState.UNKNOWN]
    assert not waiting_replies(unknown)
    assert not decide(unknown, fresh(reported(ReplyOutcome.UNKNOWN)), NOW)
    (sent,) = decide(unknown, fresh(resolved(ReplyResolution.SENT)), NOW)
    assert isinstance(sent, ReplySent)
    assert sent.resolved
    (failed,) = decide(unknown, fresh(resolved(ReplyResolution.FAILED)), NOW)
    assert isinstance(failed, ReplyFailed)
    assert (failed.reason, failed.resolved) == ("given up", True)


def test_what_is_sent_again_is_marked_as_possibly_doubled() -> None:
    unknown = after(ASKED, reported(ReplyOutcome.UNKNOWN))
    again = after(unknown, resolved(ReplyResolution.RESEND))
    assert states(again) == [ReplyState.WAITING]
    (sent,) = decide(again, fresh(reported(ReplyOutcome.SENT, message_ids=("1",))), NOW)
    assert isinstance(sent, ReplySent)
    assert sent.maybe_doubled


@pytest.mark.parametrize("state", [ASKED, LIVE, after(ASKED, reported(ReplyOutcome.SENT))])
def test_there_is_nothing_to_decide_about_any_other_reply(state: SessionState) -> None:
    with pytest.raises(ReplyNotFound):
        decide(state, fresh(resolved(ReplyResolution.RESEND)), NOW)


def test_open_replies_go_on_in_the_conversations_next_session() -> None:
    moved = after(ASKED, ResetSession())
    assert moved.generation == ASKED.generation + 1
    assert [one.reply_id for one in waiting_replies(moved)] == [FIRST]
    (sent,) = decide(moved, fresh(reported(ReplyOutcome.SENT)), NOW)
    assert (sent.session_id, sent.sequence) == (moved.session_id, moved.sequence + 1)


def archived_as(state: SessionState) -> ArchiveRef:
    return ArchiveRef(url="memory://a", digest="0" * 64, sequence=state.sequence, messages=1, at=NOW)


CLOSED = after(ASKED, CloseSession())
ENDINGS: dict[str, tuple[SessionState, AnyCommand]] = {
    "deleted": (ASKED, DeleteSession()),
    "deleted by a rule": (
        ASKED,
        ExpireSession(rule_id="rule", step=0, action=CleanupAction.DELETE, seen=ASKED.sequence),
    ),
    "archived": (CLOSED, ArchiveSession(archive=archived_as(CLOSED))),
}


@pytest.mark.parametrize(("state", "command"), ENDINGS.values(), ids=ENDINGS.keys())
def test_what_leaves_with_its_session_is_not_sent_any_more(state: SessionState, command: AnyCommand) -> None:
    events = decide(state, fresh(command), NOW)
    assert [event.reply for event in events if isinstance(event, ReplyFailed)] == [FIRST]
    assert after(state, command).replies == ()


def test_what_was_erased_is_not_sent_any_more() -> None:
    erased = after(ASKED, EraseConversation())
    assert (erased.status, erased.replies) == (SessionStatus.DELETED, ())


def test_a_message_is_said_and_sent_once_whichever_command_brings_it() -> None:
    command = SendReply(message=said("hello", message_id="answer"))
    events = decide(LIVE, given(command, "one"), NOW)
    check_same(command, events)
    with pytest.raises(RequestReused):
        check_same(AppendMessage(message=said("hello")), events)


def test_a_reply_wakes_its_session() -> None:
    idle = LIVE.model_copy(update={"status": SessionStatus.IDLE})
    assert kinds(decide(idle, fresh(SendReply(message=said())), NOW + timedelta(hours=1)))[0] == "state_changed"
    assert after(idle, message(2)).status is SessionStatus.ACTIVE
    unknown = idle.model_copy(update={"replies": ASKED.replies})
    assert kinds(decide(unknown, fresh(reported(ReplyOutcome.UNKNOWN)), NOW)) == ["reply_unknown"]


def test_a_conversation_that_a_message_starts_has_no_replies() -> None:
    assert LIVE.replies == ()
    assert EMPTY.conversation_id == CONVERSATION


def test_that_an_earlier_sessions_reply_was_sent_stays_in_the_log_when_the_later_session_leaves_it() -> None:
    moved = after(ASKED, ResetSession())
    events = decide(moved, fresh(reported(ReplyOutcome.SENT)), NOW)
    commit = Commit(conversation_id=CONVERSATION, version=moved.version + 1, at=NOW, inputs=(), events=events)
    assert stripped(commit, moved.session_id, 99, ()) == commit
    own = decide(ASKED, fresh(reported(ReplyOutcome.SENT)), NOW)
    assert stripped(commit.model_copy(update={"events": own}), ASKED.session_id, 99, ()).events == ()


REACT = React(message_id="5", where=address(), reaction="👍")
REACTED = after(LIVE, REACT)


def test_a_reaction_is_committed_with_what_has_it_sent() -> None:
    reaction, asked = decide(LIVE, fresh(REACT), NOW)
    assert isinstance(reaction, ReactionChanged)
    assert isinstance(asked, ReplyRequested)
    key = message_key_for(address(), "5")
    assert (reaction.target, reaction.user, reaction.reaction, reaction.removed) == (key, "assistant", "👍", False)
    assert (asked.message, asked.to, asked.reacts_to) == (key, address(), "5")
    assert states(REACTED) == [ReplyState.WAITING]


def test_a_reaction_on_a_page_is_told_and_not_sent() -> None:
    web = REACT.model_copy(update={"where": address().model_copy(update={"platform": Platform.WEB})})
    assert kinds(decide(LIVE, fresh(web), NOW)) == ["reaction_changed"]


def test_what_is_reacted_to_may_change_and_a_reaction_that_was_sent_is_forgotten() -> None:
    edit = EditMessage(target=message_key_for(address(), "5"), text="new")
    assert kinds(decide(REACTED, fresh(edit), NOW)) == ["message_edited"]
    assert states(after(REACTED, reported(ReplyOutcome.SENT, REACTED.replies[0].reply_id))) == []
    assert states(after(REACTED, reported(ReplyOutcome.FAILED, REACTED.replies[0].reply_id, reason="no"))) == []


def test_reactions_take_up_room_as_replies_do() -> None:
    state = LIVE
    for _ in range(MAX_OPEN_REPLIES):
        state = after(state, REACT)
    with pytest.raises(RepliesWaiting):
        decide(state, fresh(REACT), NOW)


def test_the_id_of_a_reaction_is_used_for_nothing_else() -> None:
    events = decide(LIVE, fresh(REACT), NOW)
    check_same(REACT, events)
    with pytest.raises(RequestReused):
        check_same(AppendMessage(message=said("hello")), events)
