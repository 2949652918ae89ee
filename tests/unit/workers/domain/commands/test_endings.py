"""Steps of expiry rules, the archive, and erasure: what is done once, what is refused, and what is left."""

from datetime import timedelta
from itertools import permutations

import pytest

from agentbus.contracts.commands import (
    AnyCommand,
    ArchiveSession,
    ChangeState,
    CloseSession,
    CreateSession,
    DeleteSession,
    EditMessage,
    EraseConversation,
    ExpireSession,
    RefreshSession,
    ResetSession,
    RestoreSession,
    SetData,
)
from agentbus.contracts.envelope import Input
from agentbus.contracts.errors import (
    EditConflict,
    LimitExceeded,
    SessionNotCurrent,
    SessionNotFound,
    TransitionForbidden,
)
from agentbus.contracts.events import (
    ConversationErased,
    ExpiryStepTaken,
    SessionArchived,
    SessionRestored,
    StateChanged,
)
from agentbus.contracts.expiry import ArchiveRef, CleanupAction
from agentbus.contracts.ids import InputId, session_id_for
from agentbus.contracts.messages import InboundMessage
from agentbus.contracts.profile import Profile, no_profile
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.contracts.sync import ConflictStrategy
from agentbus.workers.domain.decide import decide
from agentbus.workers.domain.earlier import earlier_sessions, followed
from agentbus.workers.domain.redaction import digest_input
from tests.harness.conversations import NOW, address, message
from tests.harness.linked import after, conversation, entry, events_of, linked, merge, stamp, step

LIVE = linked("web", {"city": "Oslo"})
LATER = NOW + timedelta(hours=1)
DIGEST = "a" * 64


def expire(
    state: SessionState, action: CleanupAction = CleanupAction.EXPIRE, number: int = 0, rule: str = "rule"
) -> ExpireSession:
    """Return the command that was decided by looking at `state`."""
    return ExpireSession(session_id=state.session_id, rule_id=rule, step=number, action=action, seen=state.sequence)


def archive(state: SessionState, digest: str = DIGEST) -> ArchiveSession:
    ref = ArchiveRef(url="memory://archive/1", digest=digest, sequence=state.sequence, messages=0, at=NOW)
    return ArchiveSession(session_id=state.session_id, archive=ref)


def restore(state: SessionState, status: SessionStatus = SessionStatus.ACTIVE, digest: str = DIGEST) -> RestoreSession:
    return RestoreSession(
        session_id=state.session_id,
        status=status,
        digest=digest,
        data={"city": "Oslo"},
        stamps={"/data/city": stamp(0)},
    )


ENDED = step(LIVE, expire(LIVE, CleanupAction.ARCHIVE), LATER)
ARCHIVED = step(ENDED, archive(ENDED), LATER)

# Steps


@pytest.mark.parametrize(
    ("action", "status", "kinds"),
    [
        (CleanupAction.NOTIFY, SessionStatus.ACTIVE, ["expiry_step_taken"]),
        (CleanupAction.SUSPEND, SessionStatus.SUSPENDED, ["expiry_step_taken", "state_changed"]),
        (CleanupAction.EXPIRE, SessionStatus.EXPIRED, ["expiry_step_taken", "state_changed"]),
        (CleanupAction.ARCHIVE, SessionStatus.EXPIRED, ["expiry_step_taken", "state_changed"]),
        (CleanupAction.MERGE, SessionStatus.EXPIRED, ["expiry_step_taken", "state_changed"]),
        (CleanupAction.DELETE, SessionStatus.DELETED, ["expiry_step_taken", "session_deleted"]),
    ],
)
def test_what_an_action_does_to_a_live_session(action: CleanupAction, status: SessionStatus, kinds: list[str]) -> None:
    events = events_of(LIVE, expire(LIVE, action), LATER)
    assert [event.kind for event in events] == kinds
    state = after(LIVE, events)
    assert (state.status, state.last_activity) == (status, LIVE.last_activity)
    assert state.expiry is not None
    assert (state.expiry.rule_id, state.expiry.step, state.expiry.action, state.expiry.at) == (
        "rule", 0, action, LATER,
    )  # fmt: skip
    assert all(event.reason == "rule" for event in events if isinstance(event, StateChanged))
    assert state.data == ({} if status is SessionStatus.DELETED else LIVE.data)


@pytest.mark.parametrize("action", CleanupAction)
def test_a_warning_does_nothing_else(action: CleanupAction) -> None:
    (event,) = events_of(LIVE, expire(LIVE, action, -1))
    assert isinstance(event, ExpiryStepTaken)
    assert event.step == -1
    assert after(LIVE, [event]).status is SessionStatus.ACTIVE


@pytest.mark.parametrize("action", CleanupAction)
def test_a_step_is_taken_once_however_often_it_is_asked_for(action: CleanupAction) -> None:
    command = expire(LIVE, action)
    state = step(LIVE, command, input_id="step")
    assert events_of(state, command, input_id="step") == ()
    assert events_of(state, command) == ()
    now = command.model_copy(update={"seen": state.sequence})
    assert events_of(state, now) == ()
    if state.status is not SessionStatus.DELETED:
        assert events_of(state, now.model_copy(update={"step": 1})) != ()
        assert events_of(state, now.model_copy(update={"rule_id": "other"})) != ()


@pytest.mark.parametrize("action", CleanupAction)
@pytest.mark.parametrize(
    "activity",
    [message(7), RefreshSession(), SetData(values={"a": 1}), ChangeState(status=SessionStatus.SUSPENDED)],
    ids=["message", "refresh", "data", "status"],
)
def test_what_came_before_the_command_wins(action: CleanupAction, activity: InboundMessage | AnyCommand) -> None:
    state = step(LIVE, activity, LATER)
    assert events_of(state, expire(LIVE, action), LATER) == ()


@pytest.mark.parametrize("action", CleanupAction)
def test_a_message_after_the_command_goes_on_or_begins_anew(action: CleanupAction) -> None:
    state = step(step(LIVE, expire(LIVE, action), LATER), message(7), LATER)
    assert state.is_live
    assert state.message_count == 1
    assert state.generation == (2 if action.ends else 1)
    assert state.expiry is None


def test_of_a_message_and_a_step_that_race_exactly_one_wins_in_either_order() -> None:
    """Never both: a session that was extended is not expired, and one that expired takes no message."""
    racers: dict[str, InboundMessage | AnyCommand] = {"message": message(7), "step": expire(LIVE)}
    for order in permutations(racers):
        state = LIVE
        for name in order:
            state = step(state, racers[name], LATER, input_id=name)
        if order[0] == "message":
            assert (state.generation, state.status, state.message_count) == (1, SessionStatus.ACTIVE, 1)
        else:
            assert (state.generation, state.status, state.message_count) == (2, SessionStatus.ACTIVE, 1)


def test_a_session_whose_own_end_comes_first_is_not_expired_by_a_rule_as_well() -> None:
    state = step(
        SessionState.empty(conversation("line")), CreateSession(profile=Profile(expires_at=NOW + timedelta(minutes=1)))
    )
    (event,) = events_of(state, expire(state), LATER)
    assert isinstance(event, StateChanged)
    assert event.reason == "expired"


def test_activity_begins_the_rule_anew_and_a_merge_is_no_activity() -> None:
    warned = step(LIVE, expire(LIVE, CleanupAction.NOTIFY))
    assert warned.expiry is not None
    assert step(warned, merge(entry("/data/a", 1, stamp(1)))).expiry == warned.expiry
    for active in (message(7), RefreshSession(), SetData(values={"a": 1})):
        state = step(warned, active)
        assert state.expiry is None
        assert events_of(state, expire(state, CleanupAction.NOTIFY)) != ()


def test_a_suspended_session_is_not_suspended_again() -> None:
    state = step(LIVE, ChangeState(status=SessionStatus.SUSPENDED))
    assert [event.kind for event in events_of(state, expire(state, CleanupAction.SUSPEND))] == ["expiry_step_taken"]


def test_the_steps_go_on_after_the_end() -> None:
    state = LIVE
    for number, action in enumerate(
        [CleanupAction.NOTIFY, CleanupAction.SUSPEND, CleanupAction.EXPIRE, CleanupAction.NOTIFY, CleanupAction.ARCHIVE]
    ):
        state = step(state, expire(state, action, number), LATER)
        assert state.expiry is not None
        assert state.expiry.step == number
    assert state.status is SessionStatus.EXPIRED
    state = step(state, archive(state))
    assert (state.status, state.expiry.action if state.expiry else None) == (
        SessionStatus.ARCHIVED, CleanupAction.ARCHIVE,
    )  # fmt: skip
    deleted = step(state, expire(state, CleanupAction.DELETE, 5))
    assert deleted.status is SessionStatus.DELETED
    assert events_of(deleted, expire(deleted, CleanupAction.DELETE, 6)) == ()


def test_an_edit_after_the_end_does_not_begin_the_rule_anew() -> None:
    state = step(ENDED, EditMessage(target="key", text="new"))
    assert state.expiry == ENDED.expiry


# Earlier sessions

MOVED_ON = step(ENDED, message(7), LATER)


def about(state: SessionState, head: SessionState, command: AnyCommand) -> tuple[SessionState, SessionState]:
    """Return the current session and an earlier one after a command about the earlier one."""
    events = decide(state, Input(InputId("about"), command), LATER, (), {head.session_id: head})
    for event in events:
        assert list(earlier_sessions(event)) == [head.session_id]
        head = followed(head, event)
    return (after(state, events) if events else state), head


@pytest.mark.parametrize("action", CleanupAction)
def test_a_step_after_the_end_can_be_taken_once_the_conversation_has_moved_on(action: CleanupAction) -> None:
    now, head = about(MOVED_ON, ENDED, expire(ENDED, action, 1))
    assert head.expiry is not None
    assert (head.expiry.step, head.expiry.action) == (1, action)
    assert head.status is (SessionStatus.DELETED if action is CleanupAction.DELETE else SessionStatus.EXPIRED)
    assert (now.status, now.expiry, now.data) == (SessionStatus.ACTIVE, None, MOVED_ON.data)
    assert about(now, head, expire(head, action, 1)) == (now, head)


def test_a_step_that_was_decided_before_the_conversation_moved_on_is_not_taken() -> None:
    """By a reset, for example: the earlier session's last event is not the one that was seen."""
    moved_on, reset = step(LIVE, ResetSession()), step(LIVE, CloseSession())
    for command in (expire(LIVE, CleanupAction.DELETE), expire(LIVE, CleanupAction.DELETE, 1)):
        assert about(moved_on, reset, command) == (moved_on, reset)
        assert events_of(moved_on, command) == ()


def test_an_earlier_session_is_archived_restored_and_deleted() -> None:
    now, head = about(MOVED_ON, ENDED, archive(ENDED))
    assert (head.status, head.data, head.stamps) == (SessionStatus.ARCHIVED, {}, {})
    assert head.archive is not None
    assert (now.status, now.archive, now.data) == (SessionStatus.ACTIVE, None, MOVED_ON.data)
    again, same = about(now, head, archive(ENDED))
    assert (again, same) == (now, head)
    now, back = about(now, head, restore(head, SessionStatus.EXPIRED))
    assert (back.status, back.data, back.archive, back.expiry) == (SessionStatus.EXPIRED, ENDED.data, None, None)
    now, gone = about(now, head, DeleteSession(session_id=head.session_id))
    assert (gone.status, gone.data) == (SessionStatus.DELETED, {})


@pytest.mark.parametrize("status", [SessionStatus.ACTIVE, SessionStatus.IDLE, SessionStatus.SUSPENDED])
def test_an_earlier_session_does_not_come_back_to_life(status: SessionStatus) -> None:
    now, head = about(MOVED_ON, ENDED, archive(ENDED))
    with pytest.raises(TransitionForbidden, match="can't come back as"):
        about(now, head, restore(head, status))


def test_what_is_not_there_can_not_be_put_away() -> None:
    unknown = session_id_for(LIVE.conversation_id, 9)
    for command in (archive(ENDED), restore(ENDED), expire(ENDED)):
        with pytest.raises(SessionNotFound):
            events_of(MOVED_ON, command.model_copy(update={"session_id": unknown}))
    with pytest.raises(SessionNotFound):
        events_of(MOVED_ON, archive(ENDED))
    with pytest.raises(TransitionForbidden):
        events_of(MOVED_ON, restore(ENDED))


def test_what_was_deleted_stays_deleted_whatever_else_is_said_about_it() -> None:
    gone = step(ENDED, DeleteSession())
    for command in (archive(ENDED), expire(ENDED, CleanupAction.NOTIFY, 1)):
        for event in decide(MOVED_ON, Input(InputId("x"), command), NOW, (), {ENDED.session_id: ENDED}):
            assert followed(gone, event) == gone


# The archive


def test_an_archived_session_keeps_what_finds_it_and_nothing_else() -> None:
    (event,) = events_of(ENDED, archive(ENDED))
    assert isinstance(event, SessionArchived)
    assert (ARCHIVED.status, ARCHIVED.data, ARCHIVED.metadata, ARCHIVED.stamps) == (
        SessionStatus.ARCHIVED, {}, {}, {},
    )  # fmt: skip
    assert ARCHIVED.archive == event.archive
    kept = ("profile", "identity", "address", "message_count", "created_at", "last_activity", "recent_inputs", "clock")
    assert [getattr(ARCHIVED, name) for name in kept[:-2]] == [getattr(ENDED, name) for name in kept[:-2]]
    assert events_of(ARCHIVED, archive(ENDED)) == ()


def test_a_live_session_is_not_archived() -> None:
    for state in (LIVE, step(LIVE, ChangeState(status=SessionStatus.SUSPENDED))):
        with pytest.raises(TransitionForbidden, match="once it has ended"):
            events_of(state, archive(state))


@pytest.mark.parametrize("ended", [CloseSession(), ChangeState(status=SessionStatus.EXPIRED)])
def test_however_it_ended_it_can_be_archived(ended: AnyCommand) -> None:
    state = step(LIVE, ended)
    assert step(state, archive(state)).status is SessionStatus.ARCHIVED


def test_nothing_is_archived_that_something_happened_to_since() -> None:
    state = step(ENDED, EditMessage(target="key", text="new"))
    with pytest.raises(EditConflict, match="archive it again"):
        events_of(state, archive(ENDED))
    assert step(state, archive(state)).status is SessionStatus.ARCHIVED


def test_a_deleted_session_is_neither_archived_nor_restored() -> None:
    gone = step(ARCHIVED, DeleteSession())
    assert gone.archive == ARCHIVED.archive  # where whoever deletes the file finds it
    for command in (archive(ENDED), restore(ARCHIVED)):
        with pytest.raises(SessionNotFound):
            events_of(gone, command)


@pytest.mark.parametrize("status", [SessionStatus.ACTIVE, SessionStatus.SUSPENDED, SessionStatus.CLOSED])
def test_a_restored_session_is_what_it_was(status: SessionStatus) -> None:
    (event,) = events_of(ARCHIVED, restore(ARCHIVED, status), LATER)
    assert isinstance(event, SessionRestored)
    state = after(ARCHIVED, [event])
    assert (state.status, state.data, state.archive, state.expiry) == (status, LIVE.data, None, None)
    assert state.last_activity == (LATER if status.is_live else LIVE.last_activity)
    assert state.stamps == {"/data/city": stamp(0)}
    assert step(state, message(7)).generation == (1 if status.is_live else 2)


def test_an_end_that_came_while_it_was_away_does_not_end_it_again() -> None:
    profile = Profile(expires_at=NOW + timedelta(minutes=1), lifetime=60)
    state = step(SessionState.empty(conversation("line")), CreateSession(profile=profile))
    state = step(state, expire(state, CleanupAction.ARCHIVE))
    state = step(state, archive(state))
    back = step(state, restore(state), LATER)
    assert (back.status, back.profile.expires_at) == (SessionStatus.ACTIVE, LATER + timedelta(minutes=1))
    assert step(back, message(1), LATER).generation == 1
    ended = step(state, restore(state, SessionStatus.CLOSED), LATER)
    assert ended.profile == profile


def test_what_can_not_be_restored() -> None:
    with pytest.raises(TransitionForbidden, match="not in the archive"):
        events_of(ENDED, restore(ENDED))
    with pytest.raises(TransitionForbidden, match="not in the archive"):
        events_of(step(LIVE, ChangeState(status=SessionStatus.ARCHIVED)), restore(LIVE))
    with pytest.raises(EditConflict, match="was archived as"):
        events_of(ARCHIVED, restore(ARCHIVED, digest="b" * 64))
    for status in (SessionStatus.ARCHIVED, SessionStatus.DELETED):
        with pytest.raises(TransitionForbidden, match="can't come back as"):
            events_of(ARCHIVED, restore(ARCHIVED, status))
    large = restore(ARCHIVED).model_copy(update={"data": {"a": "x" * 2_000_000}})
    with pytest.raises(LimitExceeded):
        events_of(ARCHIVED, large)


def test_a_session_with_more_data_than_one_input_may_set_is_restored_with_all_of_it() -> None:
    data = {f"k{number}": "x" * 200_000 for number in range(4)}
    command = restore(ARCHIVED).model_copy(update={"data": data})
    assert step(ARCHIVED, RestoreSession.model_validate_json(command.model_dump_json())).data == data


def test_a_message_to_an_archived_session_begins_a_new_one() -> None:
    state = step(ARCHIVED, message(7))
    assert (state.generation, state.status, state.archive) == (2, SessionStatus.ACTIVE, None)


# Erasure

FULL = step(
    step(LIVE, message(7, "my secret")),
    merge(entry("/data/city", "Rome", stamp(1)), strategy=ConflictStrategy.MANUAL),
)


@pytest.mark.parametrize("state", [FULL, step(FULL, CloseSession()), step(FULL, DeleteSession()), ARCHIVED])
def test_of_an_erased_session_nothing_is_left_that_tells_of_anybody(state: SessionState) -> None:
    (event,) = events_of(state, EraseConversation(), input_id="erase")
    assert isinstance(event, ConversationErased)
    assert (event.actor, event.identity) == (None, None)
    erased = after(state, [event], InputId("erase"))
    assert (erased.status, erased.erased, erased.address, erased.identity) == (SessionStatus.DELETED, True, None, None)
    assert (erased.data, erased.metadata, erased.stamps, erased.conflicts, erased.turned_down) == ({}, {}, {}, (), ())
    assert (erased.profile, erased.archive, erased.expiry, erased.blocked_by) == (no_profile(), None, None, None)
    assert (erased.generation, erased.sequence) == (state.generation, state.sequence + 1)
    assert erased.recent_inputs[-1] == digest_input(InputId("erase"))
    assert all(one == digest_input(one) for one in erased.recent_inputs)
    assert events_of(erased, EraseConversation()) == ()


def test_whoever_erases_is_not_named_either() -> None:
    (event,) = events_of(FULL, EraseConversation(actor="ada"))
    assert "ada" not in event.model_dump_json()


def test_a_redelivered_message_brings_nothing_back_and_a_new_one_begins_a_session() -> None:
    erased = step(FULL, EraseConversation())
    old = message(7, "my secret")
    seen = decide(LIVE, Input(old.input_id(), old), NOW)
    state = step(after(LIVE, seen, old.input_id()), EraseConversation())
    assert decide(state, Input(old.input_id(), old), NOW) == ()
    fresh = step(erased, message(8, "hello again"))
    assert (fresh.generation, fresh.erased, fresh.identity) == (2, True, None)
    assert fresh.is_live
    assert step(fresh, ResetSession()).erased


def test_the_end_of_a_session_that_is_erased_is_not_told_on_the_way() -> None:
    state = step(
        SessionState.empty(conversation("line")),
        CreateSession(address=address(), profile=Profile(expires_at=NOW + timedelta(minutes=1))),
    )
    assert [event.kind for event in events_of(state, EraseConversation(), LATER)] == ["conversation_erased"]


def test_earlier_sessions_are_erased_too() -> None:
    third = step(step(MOVED_ON, ResetSession()), message(9))
    (event,) = events_of(third, EraseConversation())
    assert list(earlier_sessions(event)) == [session_id_for(LIVE.conversation_id, number) for number in (1, 2)]
    head = followed(ENDED, event)
    assert (head.status, head.erased, head.address, head.data) == (SessionStatus.DELETED, True, None, {})
    assert followed(head, event) == head


def test_an_emptied_log_still_says_how_many_sessions_there_were() -> None:
    (event,) = events_of(MOVED_ON, EraseConversation())
    state = after(SessionState.empty(LIVE.conversation_id), [event])
    assert (state.generation, state.status) == (2, SessionStatus.DELETED)
    assert step(state, message(10)).generation == 3


def test_only_the_current_session_is_named_for_erasure() -> None:
    with pytest.raises(SessionNotCurrent):
        events_of(MOVED_ON, EraseConversation(session_id=LIVE.session_id))
    with pytest.raises(SessionNotFound):
        events_of(SessionState.empty(LIVE.conversation_id), EraseConversation())
