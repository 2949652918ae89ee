"""Deleting, trimming, fencing, and changing several things at once."""

import pytest

from agentbus.contracts.changes import FieldChanges
from agentbus.contracts.commands import (
    AnyCommand,
    AppendMessage,
    ApplyDeadlines,
    ChangeState,
    CloseSession,
    CreateSession,
    DeleteMessage,
    DeleteSession,
    EditMessage,
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
from agentbus.contracts.errors import EditConflict, LockLost, SessionNotCurrent, SessionNotFound, TransitionForbidden
from agentbus.contracts.events import AnyEvent, FenceRaised, HistoryTrimmed, MessageAppended, SessionDeleted
from agentbus.contracts.ids import session_id_for
from agentbus.contracts.messages import message_key_for
from agentbus.contracts.profile import Profile, ProfileChanges, Visibility
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.workers.domain.decide import decide
from agentbus.workers.domain.earlier import earlier_sessions, followed
from agentbus.workers.domain.evolve import evolve
from tests.harness.conversations import CONVERSATION, NOW, address, given, message
from tests.unit.workers.domain.test_decide import EMPTY, LIVE, after, fresh, kinds, said

FULL = after(LIVE, UpdateSession(data=FieldChanges(values={"d": 1}), metadata=FieldChanges(values={"m": 1})))
SECOND = after(FULL, ResetSession())
DELETED = after(FULL, DeleteSession())


def test_deleting_the_current_session_takes_its_data_and_keeps_its_numbers() -> None:
    (event,) = decide(FULL, fresh(DeleteSession()), NOW)
    assert isinstance(event, SessionDeleted)
    assert (event.deleted, event.session_id) == (FULL.session_id, FULL.session_id)
    assert (DELETED.status, DELETED.is_live) == (SessionStatus.DELETED, False)
    assert (DELETED.data, DELETED.metadata) == ({}, {})
    assert (DELETED.generation, DELETED.sequence) == (1, FULL.sequence + 1)


def test_the_current_session_can_be_deleted_by_its_id_and_after_its_end() -> None:
    assert after(FULL, DeleteSession(session_id=FULL.session_id)).status is SessionStatus.DELETED
    assert after(after(FULL, CloseSession()), DeleteSession()).status is SessionStatus.DELETED


def deletion_of_earlier() -> AnyEvent:
    asked = fresh(DeleteSession(session_id=FULL.session_id))
    (event,) = decide(SECOND, asked, NOW, (), {FULL.session_id: FULL})
    return event


def test_deleting_an_earlier_session_leaves_the_current_one_as_it_is() -> None:
    event = deletion_of_earlier()
    assert isinstance(event, SessionDeleted)
    assert (event.deleted, event.session_id) == (FULL.session_id, SECOND.session_id)
    state = evolve(SECOND, event)
    assert (state.status, state.profile, state.sequence) == (SessionStatus.ACTIVE, SECOND.profile, 2)


def test_an_earlier_sessions_head_becomes_that_of_a_deleted_one() -> None:
    event = deletion_of_earlier()
    assert earlier_sessions(event) == (FULL.session_id,)
    head = followed(FULL, event)
    assert (head.session_id, head.status) == (FULL.session_id, SessionStatus.DELETED)
    assert (head.data, head.metadata, head.stamps) == ({}, {}, {})
    assert followed(head, event) == head
    with pytest.raises(SessionNotFound):
        decide(SECOND, fresh(DeleteSession(session_id=FULL.session_id)), NOW, (), {FULL.session_id: head})


def test_a_session_does_not_begin_as_the_child_of_one_that_was_deleted() -> None:
    asked = fresh(CreateSession(profile=Profile(parent_id=FULL.session_id)))
    for state, others in ((EMPTY, {DELETED.session_id: DELETED}), (DELETED, {})):
        with pytest.raises(SessionNotFound, match="parent"):
            decide(state, asked, NOW, (), others)
    for others in ({FULL.session_id: FULL}, {}):
        assert decide(EMPTY, asked, NOW, (), others)


@pytest.mark.parametrize("generation", [3, 999_999_999])
def test_a_session_that_is_not_there_yet_can_not_be_deleted(generation: int) -> None:
    later = DeleteSession(session_id=session_id_for(CONVERSATION, generation))
    with pytest.raises(SessionNotFound, match="there is no session"):
        decide(SECOND, fresh(later), NOW)


@pytest.mark.parametrize("command", [TrimHistory(before=2), ResetSession(), CloseSession(), RefreshSession()])
def test_all_but_deleting_is_for_the_current_session(command: AnyCommand) -> None:
    with pytest.raises(SessionNotCurrent):
        decide(SECOND, fresh(command.model_copy(update={"session_id": FULL.session_id})), NOW)


@pytest.mark.parametrize(
    "command",
    [
        AppendMessage(message=said()),
        ApplyDeadlines(),
        ChangeState(status=SessionStatus.ACTIVE),
        CloseSession(),
        DeleteMessage(target="k"),
        DeleteSession(),
        DeleteSession(session_id=FULL.session_id),
        EditMessage(target="k", text="new"),
        RefreshSession(),
        SetData(values={"a": 1}),
        SetMetadata(values={"a": 1}),
        SetVisibility(visibility=Visibility.PUBLIC),
        ShareSession(user="bob"),
        TrimHistory(before=2),
        UnblockSession(),
        UpdateSession(messages=(said(),)),
    ],
    ids=lambda command: command.kind,
)
def test_a_deleted_session_takes_nothing(command: AnyCommand) -> None:
    with pytest.raises(SessionNotFound):
        decide(DELETED, fresh(command), NOW)


def test_a_conversation_goes_on_after_its_session_was_deleted() -> None:
    for data in (message(2), CreateSession(), ResetSession()):
        began = after(DELETED, data)
        assert (began.generation, began.status, began.data, began.metadata) == (2, SessionStatus.ACTIVE, {}, {})
        assert "session_closed" not in kinds(decide(DELETED, fresh(data), NOW))


def test_history_is_trimmed_forward_only() -> None:
    state = LIVE
    for number in range(2, 8):
        state = after(state, message(number))
    (event,) = decide(state, fresh(TrimHistory(before=4)), NOW)
    assert isinstance(event, HistoryTrimmed)
    assert event.before == 4
    trimmed = after(state, TrimHistory(before=4))
    assert (trimmed.shown_from, trimmed.message_count) == (4, state.message_count)
    for before in (1, 3, 4):
        assert decide(trimmed, fresh(TrimHistory(before=before)), NOW) == ()
    assert after(trimmed, TrimHistory(before=5)).shown_from == 5


def test_trimming_hides_nothing_that_is_still_to_come() -> None:
    trimmed = after(LIVE, TrimHistory(before=10**18))
    assert trimmed.shown_from == LIVE.sequence + 1
    (event,) = decide(trimmed, fresh(message(2)), NOW)
    assert event.sequence >= trimmed.shown_from


def test_the_next_session_shows_its_history_from_the_start() -> None:
    assert after(after(LIVE, TrimHistory(before=2)), ResetSession()).shown_from == 0


def test_a_later_token_is_noted_once_and_an_earlier_one_refused() -> None:
    events = decide(LIVE, fresh(SetData(values={"a": 1}, fence=5)), NOW)
    _, raised = events
    assert kinds(events) == ["data_set", "fence_raised"]
    assert isinstance(raised, FenceRaised)
    assert raised.fence == 5
    state = after(LIVE, SetData(values={"a": 1}, fence=5))
    assert state.fence == 5
    assert kinds(decide(state, fresh(SetData(values={"a": 2}, fence=5)), NOW)) == ["data_set"]
    with pytest.raises(LockLost, match="4 is older than 5"):
        decide(state, fresh(SetData(values={"a": 2}, fence=4)), NOW)
    assert after(state, SetData(values={"a": 2}, fence=6)).fence == 6


def test_who_holds_no_lock_is_not_fenced() -> None:
    state = after(LIVE, SetData(values={"a": 1}, fence=5))
    assert kinds(decide(state, fresh(SetData(values={"a": 2})), NOW)) == ["data_set"]
    assert kinds(decide(state, fresh(message(2)), NOW)) == ["message_appended"]


@pytest.mark.parametrize("data", [ResetSession(), CreateSession(), ResetSession(fence=5)])
def test_a_fence_outlives_the_session(data: AnyCommand) -> None:
    state = after(after(LIVE, SetData(values={"a": 1}, fence=5)), data)
    assert (state.generation, state.fence) == (2, 5)
    with pytest.raises(LockLost):
        decide(state, fresh(SetData(values={"a": 2}, fence=4)), NOW)


@pytest.mark.parametrize("end", [CloseSession(), DeleteSession()], ids=lambda command: command.kind)
def test_a_fence_outlives_an_ended_session_too(end: AnyCommand) -> None:
    state = after(after(after(LIVE, SetData(values={"a": 1}, fence=5)), end), message(2))
    assert (state.generation, state.fence) == (2, 5)


def test_a_refused_command_raises_no_fence() -> None:
    refused = UpdateSession(data=FieldChanges(values={"a": 1}, expected={"a": 0}), fence=5)
    with pytest.raises(EditConflict):
        decide(LIVE, fresh(refused), NOW)
    assert LIVE.fence == 0


def test_an_update_changes_everything_at_once_and_in_order() -> None:
    command = UpdateSession(
        data=FieldChanges(values={"a": 1}),
        metadata=FieldChanges(values={"b": 2}),
        profile=ProfileChanges(ai_model="large"),
        status=SessionStatus.SUSPENDED,
        messages=(said("one"), said("two")),
        fence=3,
    )
    assert kinds(decide(LIVE, fresh(command), NOW)) == [
        "data_set",
        "metadata_set",
        "profile_changed",
        "message_appended",
        "message_appended",
        "state_changed",
        "fence_raised",
    ]
    state = after(LIVE, command)
    assert (state.data, state.metadata, state.profile.ai_model) == ({"a": 1}, {"b": 2}, "large")
    assert (state.status, state.message_count) == (SessionStatus.SUSPENDED, LIVE.message_count + 2)


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"data": FieldChanges(expected={"a": 1})}, EditConflict),
        ({"metadata": FieldChanges(values={"b": 1}, absent=("m",))}, EditConflict),
        ({"status": SessionStatus.DELETED}, TransitionForbidden),
    ],
)
def test_an_update_is_carried_out_as_a_whole_or_not_at_all(wrong: dict[str, object], error: type[Exception]) -> None:
    right = UpdateSession(
        data=FieldChanges(values={"a": 1}), profile=ProfileChanges(ai_model="large"), messages=(said(),)
    )
    assert decide(FULL, fresh(right), NOW)
    with pytest.raises(error):
        decide(FULL, fresh(right.model_copy(update=wrong)), NOW)


def test_a_status_that_the_session_has_already_is_no_change() -> None:
    assert decide(LIVE, fresh(UpdateSession(status=SessionStatus.ACTIVE)), NOW) == ()


def test_the_messages_of_an_update_have_ids_and_keys_of_their_own() -> None:
    texts = [f"m{number}" for number in range(20)]
    events = decide(LIVE, given(UpdateSession(messages=tuple(map(said, texts))), "update-7"), NOW)
    messages = [event.message for event in events if isinstance(event, MessageAppended)]
    assert [one.content.text for one in messages if one.content.kind == "text"] == texts
    assert len({one.key for one in messages}) == len({one.message_id for one in messages}) == 20
    assert all(one.key == message_key_for(address(), one.message_id) for one in messages)
    others = decide(LIVE, given(UpdateSession(messages=(said(),)), "update-8"), NOW)
    assert not {one.message.key for one in others if isinstance(one, MessageAppended)} & {one.key for one in messages}


def test_a_message_of_an_update_keeps_the_id_that_it_has() -> None:
    command = UpdateSession(messages=(said("one", message_id="mine"), said("two")))
    ids = [
        event.message.message_id for event in decide(LIVE, fresh(command), NOW) if isinstance(event, MessageAppended)
    ]
    assert ids[0] == "mine"
    assert ids[1] != "mine"


REPEATED: list[AnyCommand] = [
    UpdateSession(data=FieldChanges(values={"new": 1}, absent=("new",)), messages=(said(),), fence=3),
    ShareSession(user="bob"),
    TrimHistory(before=2),
    DeleteSession(),
    ResetSession(),
    CreateSession(),
]


@pytest.mark.parametrize("command", REPEATED, ids=lambda command: command.kind)
def test_a_command_that_comes_again_changes_nothing(command: AnyCommand) -> None:
    state: SessionState = after(FULL, command, "same")
    assert decide(state, given(command, "same"), NOW) == ()
    assert decide(after(state, message(9)), given(command, "same"), NOW) == ()


def test_nothing_happens_to_a_conversation_without_session() -> None:
    for command in (DeleteSession(), TrimHistory(before=1), UpdateSession(), DeleteSession(session_id=FULL.session_id)):
        with pytest.raises(SessionNotFound):
            decide(EMPTY, fresh(command), NOW)
