"""Expiry rules from evaluation to the session's status: what `next_action` says, decided and applied."""

from datetime import datetime, timedelta

import pytest

from agentbus.contracts.commands import AppendMessage, ApplyDeadlines, ExpireSession
from agentbus.contracts.expiry import CleanupAction, ExpiryProgress, ExpiryRule, ExpiryStrategy
from agentbus.contracts.session import SessionState
from agentbus.workers.domain.decide import decide
from agentbus.workers.domain.expiry import Later, next_action
from tests.harness.conversations import NOW, message
from tests.unit.workers.domain.expiry.test_matching import a_rule
from tests.unit.workers.domain.expiry.test_next import ASKED, CELLS, DAY, ENDED, MS, after_a_minute
from tests.unit.workers.domain.test_decide import EMPTY, after, fresh, said

__all__ = ["after_a_minute"]  # a fixture

SECOND = timedelta(seconds=1)


def chatted() -> SessionState:
    """Return a session of five messages, the last of them now."""
    state = EMPTY
    for number in range(5):
        state = after(state, message(number))
    return state


def step_of(rule: ExpiryRule, state: SessionState, at: datetime) -> ExpireSession:
    action = next_action([rule], state, at)
    assert isinstance(action, ExpireSession)
    return action


@pytest.mark.parametrize(("strategy", "action"), CELLS, ids=[f"{one}-{other}" for one, other in CELLS])
def test_every_strategy_leads_to_every_status(strategy: ExpiryStrategy, action: CleanupAction) -> None:
    rule = a_rule(strategy, actions=[action], rule_id="cell", **ASKED[strategy])
    state = chatted()
    due = NOW if strategy is ExpiryStrategy.USAGE else NOW + 60 * SECOND
    assert due == NOW or next_action([rule], state, due - MS) == Later(due)
    command = step_of(rule, state, due)
    left = after(state, command, now=due)
    assert left.status is ENDED[action]
    assert (left.generation, left.last_activity) == (1, NOW)
    if action is not CleanupAction.DELETE:
        assert left.expiry == ExpiryProgress(rule_id="cell", step=0, action=action, at=due, messages=5)
        assert left.last_step == left.expiry
    assert decide(left, fresh(command), due + SECOND) == ()
    assert next_action([rule], left, due + timedelta(days=DAY)) is None


@pytest.mark.parametrize("action", CleanupAction)
def test_a_message_that_comes_before_the_command_wins(action: CleanupAction) -> None:
    rule = a_rule("activity", actions=[action], idle_for=60)
    state = chatted()
    command = step_of(rule, state, NOW + 60 * SECOND)
    spoken = after(state, message("late"), now=NOW + 60 * SECOND)
    assert decide(spoken, fresh(command), NOW + 61 * SECOND) == ()
    assert next_action([rule], spoken, NOW + 61 * SECOND) == Later(NOW + 120 * SECOND)


def test_a_warning_is_taken_and_activity_makes_the_rule_begin_anew() -> None:
    rule = a_rule("activity", actions=["suspend", {"action": "delete", "after": 30}], idle_for=60, warn_before=20)
    state = chatted()
    warned = after(state, step_of(rule, state, NOW + 40 * SECOND), now=NOW + 40 * SECOND)
    assert (warned.status.is_live, warned.expiry and warned.expiry.step) == (True, -1)
    assert next_action([rule], warned, NOW + 41 * SECOND) == Later(NOW + 60 * SECOND)
    answered = after(warned, AppendMessage(message=said()), now=NOW + 50 * SECOND)
    assert answered.expiry is None
    assert next_action([rule], answered, NOW + 51 * SECOND) == Later(NOW + 90 * SECOND)


def test_the_whole_course_of_a_rule() -> None:
    rule = a_rule(
        actions=["notify", {"action": "suspend", "after": 10}, {"action": "expire", "after": 10}, "delete"], max_age=60
    )
    state, seen = chatted(), []
    now = NOW
    while (action := next_action([rule], state, now)) is not None:
        if isinstance(action, Later):
            now = action.at
            continue
        assert not isinstance(action, ApplyDeadlines)
        state = after(state, action, now=now)
        seen.append(((now - NOW) / SECOND, action.action, state.status))
    assert seen == [
        (60, "notify", "active"),
        (70, "suspend", "suspended"),
        (80, "expire", "expired"),
        (80, "delete", "deleted"),
    ]
