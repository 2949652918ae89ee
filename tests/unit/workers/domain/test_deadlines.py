"""What becomes of a session by time alone: expiry and idleness, and what moves them."""

from datetime import UTC, datetime, timedelta

import pytest

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
    ExtendSession,
    RefreshSession,
    ResetSession,
    SetData,
    UpdateSession,
)
from agentbus.contracts.errors import LimitExceeded, SessionNotFound
from agentbus.contracts.events import SessionStarted, StateChanged
from agentbus.contracts.messages import InboundMessage
from agentbus.contracts.profile import Profile, ProfileChanges
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.workers.domain.decide import decide
from tests.harness.conversations import NOW, address, message
from tests.unit.workers.domain.test_decide import EMPTY, LIVE, after, fresh, kinds, said

MILLISECOND = timedelta(milliseconds=1)
END = NOW + timedelta(seconds=60)


def created(profile: Profile, at: datetime = NOW) -> SessionState:
    return after(EMPTY, CreateSession(address=address(), profile=profile), now=at)


ENDING = created(Profile(owner="ada", expires_at=END))
RESTLESS = created(Profile(owner="ada", idle_timeout=10))


def statuses(state: SessionState, data: InboundMessage | AnyCommand, now: datetime) -> list[SessionStatus]:
    return [event.status for event in decide(state, fresh(data), now) if isinstance(event, StateChanged)]


@pytest.mark.parametrize("late", [timedelta(0), MILLISECOND, timedelta(days=365)])
def test_a_message_after_the_end_expires_the_session_and_starts_the_next(late: timedelta) -> None:
    events = decide(ENDING, fresh(message(2, user="bob")), END + late)
    assert kinds(events) == ["state_changed", "session_started", "message_appended"]
    expired, started, _ = events
    assert isinstance(expired, StateChanged)
    assert (expired.session_id, expired.previous) == (ENDING.session_id, SessionStatus.ACTIVE)
    assert (expired.status, expired.reason) == (SessionStatus.EXPIRED, "expired")
    assert isinstance(started, SessionStarted)
    assert started.previous == ENDING.session_id
    assert started.profile == Profile(owner="bob")


def test_a_message_before_the_end_goes_into_the_session() -> None:
    assert kinds(decide(ENDING, fresh(message(2)), END - MILLISECOND)) == ["message_appended"]


def test_an_idle_session_past_its_end_expires_without_waking() -> None:
    idle = after(ENDING, ChangeState(status=SessionStatus.IDLE))
    assert statuses(idle, message(2), END) == [SessionStatus.EXPIRED]


@pytest.mark.parametrize(
    "command",
    [
        SetData(values={"a": 1}),
        UpdateSession(),
        AppendMessage(message=said()),
        ExtendSession(seconds=60),
        RefreshSession(),
        CloseSession(),
    ],
    ids=lambda command: command.kind,
)
def test_a_command_after_the_end_is_refused(command: AnyCommand) -> None:
    decide(ENDING, fresh(command), END - MILLISECOND)
    with pytest.raises(SessionNotFound, match="is expired; create or reset it"):
        decide(ENDING, fresh(command), END)


@pytest.mark.parametrize(
    "command", [EditMessage(target="k", text="new"), DeleteMessage(target="k"), DeleteSession(), ResetSession()]
)
def test_what_an_ended_session_takes_it_takes_after_its_end_too(command: AnyCommand) -> None:
    assert decide(ENDING, fresh(command), END)


def test_a_message_that_came_before_the_command_wins() -> None:
    """It started the next session: what was meant for the expired one must not touch that."""
    moved_on = after(ENDING, message(2), now=END)
    assert statuses(moved_on, ApplyDeadlines(), END + timedelta(hours=1)) == []
    with pytest.raises(SessionNotFound):
        decide(ENDING, fresh(SetData(values={"a": 1})), END)
    assert after(moved_on, SetData(values={"a": 1}), now=END).generation == 2


def test_create_after_the_end_expires_the_session_even_if_asked_to_keep_a_live_one() -> None:
    for keep_live in (False, True):
        events = decide(ENDING, fresh(CreateSession(keep_live=keep_live)), END)
        assert kinds(events) == ["state_changed", "session_started"]
    assert decide(ENDING, fresh(CreateSession(keep_live=True)), END - MILLISECOND) == ()


def test_apply_deadlines_expires_at_the_end_and_not_before_and_once() -> None:
    assert statuses(ENDING, ApplyDeadlines(), END - MILLISECOND) == []
    assert statuses(ENDING, ApplyDeadlines(), END) == [SessionStatus.EXPIRED]
    assert statuses(ENDING, ApplyDeadlines(), END + timedelta(days=1)) == [SessionStatus.EXPIRED]
    expired = after(ENDING, ApplyDeadlines(), now=END)
    assert (expired.is_live, expired.due_at) == (False, None)
    assert decide(expired, fresh(ApplyDeadlines()), END + timedelta(days=1)) == ()
    assert after(expired, message(2), now=END).generation == 2


def test_apply_deadlines_makes_a_quiet_session_idle_once() -> None:
    quiet = NOW + timedelta(seconds=10)
    assert RESTLESS.due_at == quiet
    assert statuses(RESTLESS, ApplyDeadlines(), quiet - MILLISECOND) == []
    assert statuses(RESTLESS, ApplyDeadlines(), quiet) == [SessionStatus.IDLE]
    idle = after(RESTLESS, ApplyDeadlines(), now=quiet)
    assert (idle.status, idle.due_at, idle.last_activity) == (SessionStatus.IDLE, None, NOW)
    assert decide(idle, fresh(ApplyDeadlines()), quiet + timedelta(days=1)) == ()


def test_a_message_wakes_an_idle_session_and_its_time_begins_anew() -> None:
    later = NOW + timedelta(minutes=5)
    idle = after(RESTLESS, ApplyDeadlines(), now=later)
    woken = after(idle, message(2), now=later)
    assert (woken.generation, woken.status) == (1, SessionStatus.ACTIVE)
    assert woken.idle_at == later + timedelta(seconds=10)


def test_a_session_that_was_made_active_is_not_idle_again_at_once() -> None:
    later = NOW + timedelta(minutes=5)
    idle = after(RESTLESS, ApplyDeadlines(), now=later)
    woken = after(idle, ChangeState(status=SessionStatus.ACTIVE), now=later)
    assert statuses(woken, ApplyDeadlines(), later + timedelta(seconds=10) - MILLISECOND) == []
    assert statuses(woken, ApplyDeadlines(), later + timedelta(seconds=10)) == [SessionStatus.IDLE]


@pytest.mark.parametrize(
    "data", [message(2), SetData(values={"a": 1}), RefreshSession(), AppendMessage(message=said())]
)
def test_activity_puts_idleness_off(data: InboundMessage | AnyCommand) -> None:
    at = NOW + timedelta(seconds=9)
    assert after(RESTLESS, data, now=at).idle_at == at + timedelta(seconds=10)


def test_a_suspended_session_does_not_become_idle_but_expires() -> None:
    both = created(Profile(owner="ada", idle_timeout=10, expires_at=END))
    suspended = after(both, ChangeState(status=SessionStatus.SUSPENDED))
    assert suspended.due_at == END
    assert statuses(suspended, ApplyDeadlines(), END - MILLISECOND) == []
    assert statuses(suspended, ApplyDeadlines(), END) == [SessionStatus.EXPIRED]


def test_of_two_deadlines_that_passed_expiry_wins() -> None:
    both = created(Profile(owner="ada", idle_timeout=10, expires_at=END))
    assert both.due_at == NOW + timedelta(seconds=10)
    assert statuses(both, ApplyDeadlines(), END) == [SessionStatus.EXPIRED]


def test_nothing_is_due_without_deadlines() -> None:
    assert LIVE.due_at is None
    assert decide(LIVE, fresh(ApplyDeadlines()), datetime(9999, 1, 1, tzinfo=UTC)) == ()
    with pytest.raises(SessionNotFound):
        decide(EMPTY, fresh(ApplyDeadlines()), NOW)


@pytest.mark.parametrize(
    ("profile", "command", "end"),
    [
        (Profile(expires_at=END), ExtendSession(seconds=30), END + timedelta(seconds=30)),
        (Profile(), ExtendSession(seconds=30), NOW + timedelta(seconds=30)),
        (Profile(), ExtendSession(seconds=0.0015), NOW + timedelta(milliseconds=2)),
        (Profile(expires_at=END), ExtendSession(until=NOW + timedelta(days=1)), NOW + timedelta(days=1)),
        (Profile(expires_at=END), ExtendSession(until=NOW), NOW),
        (Profile(expires_at=END), ExtendSession(), END),
        (Profile(expires_at=END), RefreshSession(), END),
        (Profile(), RefreshSession(), None),
        (Profile(expires_at=END, lifetime=600), RefreshSession(), NOW + timedelta(seconds=600)),
        (Profile(expires_at=END, lifetime=1.5), RefreshSession(), NOW + timedelta(seconds=1.5)),
        (Profile(expires_at=END), UpdateSession(profile=ProfileChanges(expires_at=NOW)), NOW),
        (Profile(expires_at=END), UpdateSession(profile=ProfileChanges(clear=("expires_at",))), None),
    ],
)
def test_the_end_is_moved(profile: Profile, command: AnyCommand, end: datetime | None) -> None:
    state = created(profile, at=NOW - timedelta(seconds=1))
    assert after(state, command).profile.expires_at == end


def test_a_session_created_with_a_lifetime_ends_after_it_unless_it_says_when() -> None:
    assert created(Profile(lifetime=60)).profile.expires_at == END
    assert created(Profile(lifetime=60)).due_at == END
    said_when = created(Profile(lifetime=60, expires_at=NOW + timedelta(seconds=5)))
    assert said_when.profile.expires_at == NOW + timedelta(seconds=5)


def test_refreshing_keeps_a_session_from_expiring() -> None:
    state, now = created(Profile(lifetime=60)), NOW
    for _ in range(5):
        now += timedelta(seconds=59)
        state = after(state, RefreshSession(), now=now)
    assert decide(state, fresh(ApplyDeadlines()), now + timedelta(seconds=59)) == ()
    assert statuses(state, ApplyDeadlines(), now + timedelta(seconds=60)) == [SessionStatus.EXPIRED]


def test_a_session_does_not_inherit_the_end_of_the_one_that_was_reset() -> None:
    again = after(ENDING, ResetSession(), now=END)
    assert (again.generation, again.profile.owner, again.profile.expires_at) == (2, "ada", None)
    assert kinds(decide(again, fresh(message(2)), END)) == ["message_appended"]


def test_a_session_whose_time_is_over_can_be_taken_by_its_next_owner() -> None:
    over = LIVE.model_copy(update={"profile": Profile(owner="ada", expires_at=NOW), "status": SessionStatus.ACTIVE})
    events = decide(over, fresh(CreateSession(actor="bob", profile=Profile(owner="bob"))), NOW)
    assert [event.kind for event in events] == ["state_changed", "session_started"]


def test_a_reset_begins_a_lifetime_anew() -> None:
    kept = LIVE.model_copy(update={"profile": Profile(owner="ada", lifetime=60)})
    state = after(kept, ResetSession())
    assert state.profile.expires_at == NOW + timedelta(seconds=60)


def test_activity_wakes_an_idle_session() -> None:
    idle = LIVE.model_copy(update={"status": SessionStatus.IDLE})
    for command in (RefreshSession(), AppendMessage(message=said()), UpdateSession(messages=(said(),))):
        assert after(idle, command).status is SessionStatus.ACTIVE
    assert after(idle, UpdateSession(status=SessionStatus.SUSPENDED)).status is SessionStatus.SUSPENDED


def test_nothing_can_be_extended_beyond_the_calendar() -> None:
    with pytest.raises(LimitExceeded):
        decide(
            LIVE.model_copy(update={"profile": Profile(expires_at=datetime(9999, 1, 1, tzinfo=UTC))}),
            fresh(ExtendSession(seconds=3_000_000_000)),
            NOW,
        )
