"""Laws of the expiry rules' evaluation, over any rules and any head."""

from datetime import datetime, timedelta

from hypothesis import assume
from hypothesis import given as over
from hypothesis import strategies as st

from agentbus.contracts.commands import ApplyDeadlines, ExpireSession
from agentbus.contracts.expiry import CleanupAction, Conditions, ExpiryProgress, ExpiryRule, ExpiryStrategy, Step
from agentbus.contracts.profile import Profile
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.workers.domain.expiry import Later, next_action
from tests.harness.builders import a_conversation, a_head, a_moment

# Few values close together, so that moments coincide and rules overtake each other.
spans = st.sampled_from([1.0, 2.0, 3.0, 5.0])
waits = st.sampled_from([0.0, 1.0, 2.0, 5.0])
counts = st.sampled_from([2, 3])
quiet = st.sampled_from([CleanupAction.NOTIFY, CleanupAction.SUSPEND])
_CONDITIONS = {
    ExpiryStrategy.TIME: st.builds(Conditions, max_age=spans),
    ExpiryStrategy.ACTIVITY: st.builds(Conditions, idle_for=spans),
    ExpiryStrategy.USAGE: st.builds(Conditions, max_messages=counts),
    ExpiryStrategy.HYBRID: st.builds(
        Conditions,
        max_age=spans,
        idle_for=spans,
        max_messages=st.none() | counts,
        match=st.sampled_from(["all", "any"]),
    ),
}
endings = st.sampled_from(
    [
        (),
        (CleanupAction.EXPIRE,),
        (CleanupAction.ARCHIVE, CleanupAction.DELETE),
        (CleanupAction.MERGE, CleanupAction.ARCHIVE, CleanupAction.DELETE),
        (CleanupAction.DELETE,),
    ]
)


@st.composite
def actions(draw: st.DrawFn) -> tuple[Step, ...]:
    kinds = (*draw(st.lists(quiet, max_size=2)), *draw(endings))
    assume(kinds)
    return tuple(Step(action=kind, after=draw(waits)) for kind in kinds)


@st.composite
def rule_sets(draw: st.DrawFn) -> list[ExpiryRule]:
    rules = []
    for number in range(draw(st.integers(1, 3))):
        strategy = draw(st.sampled_from(sorted(_CONDITIONS)))
        rules.append(
            ExpiryRule(
                rule_id=f"rule-{number}",
                strategy=strategy,
                conditions=draw(_CONDITIONS[strategy]),
                actions=draw(actions()),
                priority=draw(st.integers(0, 1)),
                enabled=draw(st.sampled_from([True, True, True, False])),
                warn_before=draw(st.none() | spans),
            )
        )
    return rules


progress = st.builds(
    ExpiryProgress,
    rule_id=st.sampled_from(["rule-0", "rule-1", "gone"]),
    step=st.integers(-1, 4),
    action=st.sampled_from(CleanupAction),
    at=st.integers(0, 5).map(a_moment),
)


@st.composite
def heads(draw: st.DrawFn) -> SessionState:
    head = a_head(
        a_conversation("laws"), active=draw(st.integers(0, 3)), status=draw(st.sampled_from(list(SessionStatus)))
    )
    profile = Profile(
        expires_at=draw(st.none() | st.integers(1, 12).map(a_moment)), idle_timeout=draw(st.none() | spans)
    )
    return head.model_copy(
        update={
            "sequence": draw(st.integers(1, 5)),
            "message_count": draw(st.integers(0, 4)),
            "profile": profile,
            "expiry": draw(st.none() | progress),
            "last_step": draw(st.none() | progress),
        }
    )


moments = st.integers(0, 24).map(lambda half: a_moment(half / 2))


@over(rule_sets(), heads(), moments)
def test_at_the_moment_named_there_is_something_to_do(
    rules: list[ExpiryRule], head: SessionState, now: datetime
) -> None:
    answer = next_action(rules, head, now)
    if isinstance(answer, Later):
        assert answer.at > now
        assert isinstance(next_action(rules, head, answer.at), ExpireSession | ApplyDeadlines)


@over(rule_sets(), heads(), moments, st.integers(1, 20))
def test_waiting_longer_never_takes_back_what_was_due(
    rules: list[ExpiryRule], head: SessionState, now: datetime, longer: int
) -> None:
    """It may become another rule's turn, but not nobody's."""
    answer = next_action(rules, head, now)
    later = next_action(rules, head, now + timedelta(seconds=longer / 2))
    assert (later is None) == (answer is None)


@over(rule_sets(), heads(), moments)
def test_between_now_and_the_moment_named_there_is_nothing_to_do(
    rules: list[ExpiryRule], head: SessionState, now: datetime
) -> None:
    answer = next_action(rules, head, now)
    if isinstance(answer, Later):
        between = now + (answer.at - now) / 2
        assert next_action(rules, head, between) == answer


@over(rule_sets(), heads(), moments)
def test_a_step_is_taken_once_and_the_course_ends(rules: list[ExpiryRule], head: SessionState, now: datetime) -> None:
    """Every step that is taken is another one: no rule goes round in circles, nor two of them in turns."""
    seen: set[tuple[str, int]] = set()
    moment = now
    for _ in range(60):
        answer = next_action(rules, head, moment)
        if answer is None:
            return
        if isinstance(answer, Later):
            moment = answer.at
        elif isinstance(answer, ApplyDeadlines):
            head = _own_deadline_met(head, moment)
        else:
            step = (answer.rule_id, answer.step)
            assert step not in seen
            seen.add(step)
            head = _taken(head, answer, moment)
            assert next_action([rule for rule in rules if rule.rule_id == step[0]], head, moment) != answer
    raise AssertionError("it never ends")


def _own_deadline_met(head: SessionState, moment: datetime) -> SessionState:
    past = head.profile.expires_at is not None and head.profile.expires_at <= moment
    status = SessionStatus.EXPIRED if past else SessionStatus.IDLE
    return head.model_copy(update={"status": status, "sequence": head.sequence + 1})


def _taken(head: SessionState, step: ExpireSession, moment: datetime) -> SessionState:
    status = {
        CleanupAction.NOTIFY: head.status,
        CleanupAction.SUSPEND: SessionStatus.SUSPENDED,
        CleanupAction.EXPIRE: SessionStatus.EXPIRED,
        CleanupAction.MERGE: SessionStatus.EXPIRED,
        CleanupAction.ARCHIVE: SessionStatus.ARCHIVED,
        CleanupAction.DELETE: SessionStatus.DELETED,
    }[step.action]
    done = ExpiryProgress(rule_id=step.rule_id, step=step.step, action=step.action, at=moment)
    return head.model_copy(update={"expiry": done, "last_step": done, "status": status, "sequence": head.sequence + 1})
