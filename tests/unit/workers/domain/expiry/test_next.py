"""What expiry rules do to a session next: steps, warnings, priorities, and what follows a session's end."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agentbus.contracts.commands import ApplyDeadlines, ExpireSession
from agentbus.contracts.errors import ConfigurationError
from agentbus.contracts.expiry import CleanupAction, ExpiryProgress, ExpiryRule, ExpiryStrategy
from agentbus.contracts.profile import Profile
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.workers.domain.expiry import Later, conditions, next_action, register_condition
from tests.harness.builders import NOON, a_conversation, a_head, a_moment
from tests.harness.conversations import NOW, message
from tests.harness.linked import step
from tests.unit.workers.domain.expiry.test_matching import a_rule

MS = timedelta(milliseconds=1)
DAY = 86400
HEAD = a_head(a_conversation("steps")).model_copy(update={"sequence": 3, "message_count": 5})
ASKED: dict[ExpiryStrategy, dict[str, Any]] = {
    ExpiryStrategy.TIME: {"max_age": 60},
    ExpiryStrategy.ACTIVITY: {"idle_for": 60},
    ExpiryStrategy.USAGE: {"max_messages": 5},
    ExpiryStrategy.HYBRID: {"max_age": 30, "idle_for": 60, "max_messages": 5},
    ExpiryStrategy.CUSTOM: {"custom": "after-a-minute"},
}
ENDED = {
    CleanupAction.NOTIFY: SessionStatus.ACTIVE,
    CleanupAction.SUSPEND: SessionStatus.SUSPENDED,
    CleanupAction.EXPIRE: SessionStatus.EXPIRED,
    CleanupAction.ARCHIVE: SessionStatus.EXPIRED,
    CleanupAction.MERGE: SessionStatus.EXPIRED,
    CleanupAction.DELETE: SessionStatus.DELETED,
}


@pytest.fixture(autouse=True)
def after_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conditions, "_conditions", {})
    register_condition("after-a-minute", lambda head: head.created_at and head.created_at + timedelta(seconds=60))


def taken(head: SessionState, step: ExpireSession, at: datetime) -> SessionState:
    """Return a head as it is once `step` was taken."""
    status = ENDED[step.action] if step.action is not CleanupAction.NOTIFY else head.status
    progress = ExpiryProgress(rule_id=step.rule_id, step=step.step, action=step.action, at=at)
    return head.model_copy(
        update={"expiry": progress, "last_step": progress, "status": status, "sequence": head.sequence + 1}
    )


def step_of(action: object) -> ExpireSession:
    assert isinstance(action, ExpireSession)
    return action


def course(rules: list[ExpiryRule], head: SessionState, *, archived: bool = True) -> list[tuple[float, str, int]]:
    """Take every step at its time; return the seconds after noon, rule and number of each."""
    now = NOON
    steps: list[tuple[float, str, int]] = []
    while answer := next_action(rules, head, now):
        assert len(steps) < 50
        if isinstance(answer, Later):
            assert answer.at > now
            now = answer.at
            continue
        step = step_of(answer)
        assert (step.seen, step.session_id) == (head.sequence, head.session_id)
        steps.append(((now - NOON).total_seconds(), step.rule_id, step.step))
        head = taken(head, step, now)
        if archived and step.action is CleanupAction.ARCHIVE:
            head = head.model_copy(update={"status": SessionStatus.ARCHIVED, "sequence": head.sequence + 1})
    return steps


CELLS = [(strategy, action) for strategy in ExpiryStrategy for action in CleanupAction]


@pytest.mark.parametrize(("strategy", "action"), CELLS, ids=[f"{one}-{other}" for one, other in CELLS])
def test_every_strategy_leads_to_every_action(strategy: ExpiryStrategy, action: CleanupAction) -> None:
    rule = a_rule(strategy, actions=[action], rule_id="cell", **ASKED[strategy])
    due = NOON if strategy is ExpiryStrategy.USAGE else NOON + timedelta(seconds=60)
    if due > NOON:
        assert next_action([rule], HEAD, due - MS) == Later(due)
    first = step_of(next_action([rule], HEAD, due))
    assert first == ExpireSession(
        session_id=HEAD.session_id, rule_id="cell", step=0, action=action, seen=HEAD.sequence, next_at=None
    )
    assert next_action([rule], taken(HEAD, first, due), due + timedelta(days=1000)) is None


@pytest.mark.parametrize("strategy", ["time", "activity", "hybrid"])
def test_a_rule_takes_its_steps_with_the_times_between(strategy: ExpiryStrategy) -> None:
    actions = [
        {"action": "notify", "after": 10},
        {"action": "suspend", "after": DAY},
        {"action": "archive", "after": 2 * DAY},
        {"action": "delete", "after": 30 * DAY},
    ]
    rule = a_rule(strategy, actions=actions, warn_before=20, **ASKED[ExpiryStrategy(strategy)])
    expected = [40, 70, 70 + DAY, 70 + 3 * DAY, 70 + 33 * DAY]
    assert course([rule], HEAD) == [(at, "rule", number) for number, at in enumerate(expected, -1)]


def test_each_step_says_when_the_next_one_comes() -> None:
    rule = a_rule(actions=["notify", {"action": "archive", "after": 5}], max_age=60, warn_before=20)
    warning = step_of(next_action([rule], HEAD, a_moment(41)))
    assert (warning.step, warning.action, warning.next_at) == (-1, CleanupAction.NOTIFY, a_moment(61))
    warned = taken(HEAD, warning, a_moment(42))
    assert next_action([rule], warned, a_moment(60)) == Later(a_moment(62))
    first = step_of(next_action([rule], warned, a_moment(62)))
    assert (first.step, first.next_at) == (0, a_moment(67))


def test_a_warning_that_comes_late_puts_the_first_step_off() -> None:
    rule = a_rule(actions=["delete"], max_age=60, warn_before=20)
    warning = step_of(next_action([rule], HEAD, a_moment(500)))
    assert (warning.step, warning.next_at) == (-1, a_moment(520))
    assert next_action([rule], taken(HEAD, warning, a_moment(501)), a_moment(510)) == Later(a_moment(521))


def test_a_warning_before_a_session_has_too_many_messages_comes_with_the_last_one() -> None:
    rule = a_rule("usage", actions=["archive"], max_messages=5, warn_before=20)
    assert course([rule], HEAD) == [(0, "rule", -1), (20, "rule", 0)]


def test_a_worker_that_comes_late_does_not_take_all_steps_at_once() -> None:
    rule = a_rule(actions=["notify", {"action": "delete", "after": DAY}], max_age=60)
    late = a_moment(10 * DAY)
    warned = taken(HEAD, step_of(next_action([rule], HEAD, late)), late)
    assert next_action([rule], warned, late) == Later(late + timedelta(days=1))


def test_activity_makes_a_rule_begin_anew() -> None:
    rule = a_rule("activity", actions=["notify", {"action": "delete", "after": 100}], idle_for=60)
    warned = taken(HEAD, step_of(next_action([rule], HEAD, a_moment(60))), a_moment(60))
    assert next_action([rule], warned, a_moment(61)) == Later(a_moment(160))
    woken = warned.model_copy(update={"expiry": None, "last_activity": a_moment(90), "sequence": 9})
    assert next_action([rule], woken, a_moment(160) - 11 * timedelta(seconds=1)) == Later(a_moment(150))
    again = step_of(next_action([rule], woken, a_moment(150)))
    assert (again.step, again.seen) == (0, 9)


def test_of_several_that_hold_the_highest_priority_is_applied_alone() -> None:
    rules = [
        a_rule(rule_id="low", actions=["delete"], max_age=60),
        a_rule(rule_id="high", actions=["suspend"], max_age=60, priority=5),
        a_rule(rule_id="off", actions=["expire"], max_age=60, priority=9, enabled=False),
        a_rule(rule_id="not-mine", actions=["expire"], max_age=60, priority=9, owners=["bob"]),
    ]
    assert course(rules, HEAD) == course(rules[::-1], HEAD) == [(60, "high", 0)]


def test_of_equal_priority_the_first_by_id_is_applied() -> None:
    rules = [a_rule(rule_id=name, actions=["delete"], max_age=60) for name in "bca"]
    assert course(rules, HEAD) == [(60, "a", 0)]


def test_a_higher_rule_takes_over_when_it_comes_to_hold() -> None:
    low = a_rule("activity", rule_id="low", actions=["notify", {"action": "delete", "after": 100}], idle_for=60)
    high = a_rule(rule_id="high", actions=["notify", {"action": "archive", "after": 30}], max_age=90, priority=1)
    assert course([low, high], HEAD) == [(60, "low", 0), (90, "high", 0), (120, "high", 1)]
    last = a_rule(rule_id="last", actions=["archive"], max_age=7 * DAY, priority=2)
    notes = a_rule(rule_id="notes", actions=["notify"], max_age=60)
    assert course([last, notes], HEAD) == [(60, "notes", 0), (7 * DAY, "last", 0)]


def test_a_rules_turn_begins_with_its_warning() -> None:
    low = a_rule("activity", rule_id="low", actions=["notify", {"action": "delete", "after": 1}], idle_for=50)
    high = a_rule(rule_id="high", actions=["archive"], max_age=90, priority=1, warn_before=40)
    assert course([low, high], HEAD) == [(50, "high", -1), (90, "high", 0)]
    assert course([low.model_copy(update={"priority": 2}), high], HEAD) == [(50, "low", 0), (51, "low", 1)]


def test_a_higher_rule_that_waits_for_its_first_step_is_not_overtaken() -> None:
    high = a_rule(rule_id="high", actions=[{"action": "archive", "after": 100}], max_age=60, priority=1)
    low = a_rule(rule_id="low", actions=["delete"], max_age=70)
    assert next_action([high, low], HEAD, NOON) == Later(a_moment(160))
    assert course([high, low], HEAD) == [(160, "high", 0)]


def test_moments_beyond_the_calendar_never_come() -> None:
    end = datetime(9999, 12, 31, tzinfo=UTC)
    late = HEAD.model_copy(update={"created_at": end, "last_activity": end})
    two_days = {"action": "delete", "after": 2 * DAY}
    assert next_action([a_rule(max_age=2 * DAY)], late, end) is None
    assert next_action([a_rule(actions=[two_days], max_age=1)], late, end) is None
    rule = a_rule(actions=["notify", two_days], max_age=1)
    first = step_of(next_action([rule], late, end + timedelta(seconds=1)))
    assert first.next_at is None
    assert next_action([rule], taken(late, first, end + timedelta(seconds=1)), end + timedelta(hours=23)) is None
    warned = a_rule(actions=["delete"], max_age=1, warn_before=2 * DAY)
    assert step_of(next_action([warned], late, end)).next_at is None


def test_before_the_calendar_there_is_no_warning_but_the_rule_holds() -> None:
    begun = datetime(1, 1, 1, 0, 1, tzinfo=UTC)
    early = HEAD.model_copy(update={"created_at": begun, "last_activity": begun})
    rule = a_rule(max_age=1, warn_before=DAY)
    assert next_action([rule], early, begun) == Later(begun + timedelta(seconds=1))


def test_a_sessions_own_deadlines_go_before_the_rules() -> None:
    profile = Profile(expires_at=a_moment(60), idle_timeout=30)
    head = HEAD.model_copy(update={"profile": profile})
    rule = a_rule("activity", actions=["archive"], idle_for=30)
    assert next_action([rule], head, NOON) == next_action([], head, NOON) == Later(a_moment(30))
    assert next_action([rule], head, a_moment(30)) == ApplyDeadlines(session_id=head.session_id)
    idle = head.model_copy(update={"status": SessionStatus.IDLE})
    assert step_of(next_action([rule], idle, a_moment(30))).action is CleanupAction.ARCHIVE
    assert next_action([], idle, a_moment(30)) == Later(a_moment(60))
    assert next_action([a_rule(max_age=100)], idle, a_moment(30)) == Later(a_moment(60))


def test_there_is_nothing_to_do_without_rules_or_a_session() -> None:
    assert next_action([], HEAD, a_moment(10 * DAY)) is None
    assert next_action([a_rule(max_age=1)], SessionState.empty(a_conversation("steps")), a_moment(DAY)) is None
    assert next_action([a_rule("usage", max_messages=6)], HEAD, a_moment(DAY)) is None


@pytest.mark.parametrize("status", [status for status in SessionStatus if not status.is_live])
def test_a_session_that_no_rule_ended_is_left_alone(status: SessionStatus) -> None:
    rule = a_rule(actions=["notify", {"action": "delete", "after": 1}], max_age=1)
    ended = HEAD.model_copy(update={"status": status})
    noted = taken(HEAD, step_of(next_action([rule], HEAD, a_moment(1))), a_moment(1))
    for head in (ended, noted.model_copy(update={"status": status})):
        assert next_action([rule], head, a_moment(DAY)) is None


ENDING = a_rule(
    actions=["expire", {"action": "archive", "after": 10}, {"action": "delete", "after": 20}],
    max_age=60,
    owners=["ada"],
)


def ended_by(step: int, status: SessionStatus) -> SessionState:
    action = ENDING.actions[step].action
    progress = ExpiryProgress(rule_id="rule", step=step, action=action, at=a_moment(100))
    return HEAD.model_copy(update={"status": status, "expiry": progress})


def test_an_ended_session_takes_the_later_steps_of_the_rule_that_ended_it() -> None:
    """Those of other rules it does not take, and what the rule is for is not asked again."""
    expired = ended_by(0, SessionStatus.EXPIRED)
    others = [a_rule(rule_id="other", actions=["delete"], max_age=1, priority=9)]
    assert next_action([ENDING, *others], expired, a_moment(105)) == Later(a_moment(110))
    step = step_of(next_action([ENDING, *others], expired, a_moment(111)))
    assert (step.rule_id, step.step, step.action, step.seen) == ("rule", 1, CleanupAction.ARCHIVE, 3)
    assert step.next_at == a_moment(131)
    for status in (SessionStatus.CLOSED, SessionStatus.EXPIRED):
        assert isinstance(next_action([ENDING], ended_by(0, status), a_moment(110)), ExpireSession)


def test_nothing_follows_archiving_before_the_session_is_in_the_archive() -> None:
    for status in (SessionStatus.EXPIRED, SessionStatus.CLOSED):
        assert next_action([ENDING], ended_by(1, status), a_moment(DAY)) is None
    archived = ended_by(1, SessionStatus.ARCHIVED)
    assert next_action([ENDING], archived, a_moment(119)) == Later(a_moment(120))
    assert step_of(next_action([ENDING], archived, a_moment(120))).action is CleanupAction.DELETE


def test_nothing_follows_the_last_step_or_a_rule_that_is_gone_or_off() -> None:
    assert next_action([ENDING], ended_by(2, SessionStatus.DELETED), a_moment(DAY)) is None
    archived = ended_by(1, SessionStatus.ARCHIVED)
    assert next_action([], archived, a_moment(DAY)) is None
    assert next_action([ENDING.model_copy(update={"enabled": False})], archived, a_moment(DAY)) is None
    shorter = ENDING.model_copy(update={"actions": ENDING.actions[:2]})
    assert next_action([shorter], archived, a_moment(DAY)) is None
    at_the_end = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    progress = ExpiryProgress(rule_id="rule", step=1, action=CleanupAction.ARCHIVE, at=at_the_end)
    assert next_action([ENDING], archived.model_copy(update={"expiry": progress}), at_the_end) is None


def test_of_a_rule_that_was_changed_only_what_an_ended_session_can_still_become_follows() -> None:
    """A merge of what has ended would bring what is old into one of the linked sessions, and not into the others."""
    expired = ExpiryProgress(rule_id="rule", step=0, action=CleanupAction.EXPIRE, at=NOON)
    head = HEAD.model_copy(update={"expiry": expired, "status": SessionStatus.EXPIRED})
    merging = a_rule(actions=["notify", "suspend", "merge"], max_age=60)
    assert next_action([merging], head, a_moment(DAY)) is None
    longer = a_rule(actions=["notify", "suspend", "merge", {"action": "archive", "after": 30}], max_age=60)
    assert next_action([longer], head, a_moment(29)) == Later(a_moment(30))
    step = step_of(next_action([longer], head, a_moment(30)))
    assert (step.step, step.action) == (3, CleanupAction.ARCHIVE)


def test_a_restored_session_is_not_deleted_by_what_had_archived_it() -> None:
    """Its rule begins anew, from when it holds again."""
    owned = {"profile": Profile(owner="ada"), "created_at": a_moment(1000)}
    restored = ended_by(1, SessionStatus.ACTIVE).model_copy(update=owned)
    assert next_action([ENDING], restored, a_moment(1000)) == Later(a_moment(1060))
    assert step_of(next_action([ENDING], restored, a_moment(1060))).step == 0


def test_a_rule_that_was_changed_meanwhile_goes_on_from_where_it_was() -> None:
    rule = a_rule(actions=["notify", {"action": "suspend", "after": 5}], max_age=60, warn_before=20)
    warned = taken(HEAD, step_of(next_action([rule], HEAD, a_moment(40))), a_moment(40))
    noted = taken(warned, step_of(next_action([rule], warned, a_moment(60))), a_moment(60))
    without_warning = rule.model_copy(update={"warn_before": None})
    assert step_of(next_action([without_warning], warned, a_moment(60))).step == 0
    assert step_of(next_action([without_warning], noted, a_moment(65))).step == 1
    shorter = rule.model_copy(update={"actions": rule.actions[:1]})
    assert next_action([shorter], noted, a_moment(DAY)) is None


def test_an_unknown_condition_is_told() -> None:
    with pytest.raises(ConfigurationError, match="no condition 'unheard-of'"):
        next_action([a_rule("custom", custom="unheard-of")], HEAD, NOON)


# Sessions in use


def in_use(rule: ExpiryRule, every: float, hours: float = 3) -> tuple[list[tuple[float, int]], SessionState]:
    """Use a session every so many seconds; return the steps with their seconds after NOW, and what is left of it."""
    state = step(SessionState.empty(a_conversation("used")), message(1), NOW)
    steps: list[tuple[float, int]] = []
    used, now, end = NOW + timedelta(seconds=every), NOW, NOW + timedelta(hours=hours)
    number = 1
    while now < end and state.is_live:
        answer = next_action([rule], state, now)
        if isinstance(answer, ExpireSession):
            steps.append(((now - NOW).total_seconds(), answer.step))
            state = step(state, answer, now)
            continue
        now = min(used, answer.at if isinstance(answer, Later) else end)
        if now == used:
            number += 1
            state = step(state, message(number), now)
            used += timedelta(seconds=every)
    return steps, state


@pytest.mark.parametrize(
    ("rule", "steps"),
    [
        (a_rule(actions=["expire"], max_age=3600, warn_before=300), [(3300, -1), (3600, 0)]),
        (a_rule(actions=["notify", {"action": "delete", "after": 600}], max_age=3600), [(3600, 0), (4200, 1)]),
        (a_rule("usage", ["expire"], max_messages=5, warn_before=600), [(960, -1), (1560, 0)]),
        (a_rule("usage", ["notify", {"action": "expire", "after": 600}], max_messages=5), [(960, 0), (1560, 1)]),
        (
            a_rule("hybrid", ["expire"], max_age=3600, idle_for=1000, match="any", warn_before=300),
            [(3300, -1), (3600, 0)],
        ),
        (a_rule("hybrid", ["expire"], max_age=600, max_messages=5, warn_before=300), [(960, -1), (1260, 0)]),
        (a_rule("custom", ["expire"], custom="after-an-hour", warn_before=300), [(3300, -1), (3600, 0)]),
    ],
    ids=["age", "age-in-steps", "usage", "usage-in-steps", "any", "all", "custom"],
)
def test_a_session_in_use_is_warned_of_its_age_or_size_once_and_ends(
    rule: ExpiryRule, steps: list[tuple[float, int]]
) -> None:
    register_condition("after-an-hour", lambda head: head.created_at and head.created_at + timedelta(hours=1))
    taken_steps, left = in_use(rule, every=240)
    assert (taken_steps, left.is_live) == (steps, False)


@pytest.mark.parametrize(
    "rule",
    [
        a_rule("activity", ["notify", {"action": "expire", "after": 600}], idle_for=200),
        a_rule("hybrid", ["expire"], max_age=600, idle_for=300, warn_before=100),
        a_rule("custom", ["notify", {"action": "expire", "after": 600}], custom="silent"),
    ],
    ids=["idle", "all", "custom"],
)
def test_what_activity_ends_or_puts_off_begins_anew_with_it(rule: ExpiryRule) -> None:
    register_condition("silent", lambda head: head.last_activity and head.last_activity + timedelta(seconds=200))
    steps, left = in_use(rule, every=240)
    assert left.is_live
    assert len(steps) > 30, "each time it is silent for so long"


def test_a_rule_of_age_that_was_put_off_warns_again() -> None:
    rule = a_rule(actions=["expire"], max_age=3600, warn_before=300)
    warned = taken(HEAD, step_of(next_action([rule], HEAD, a_moment(3300))), a_moment(3300))
    used = warned.model_copy(update={"expiry": None, "last_activity": a_moment(3400)})
    longer = a_rule(actions=["expire"], max_age=7200, warn_before=300)
    assert next_action([rule], used, a_moment(3500)) == Later(a_moment(3600))
    assert next_action([longer], used, a_moment(3500)) == Later(a_moment(6900))
    assert step_of(next_action([longer], used, a_moment(6900))).step == -1
