"""Expiry rules: how they are written, which sessions they are for, and since when they hold."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from pydantic import ValidationError

from agentbus.contracts.address import Platform
from agentbus.contracts.errors import ConfigurationError
from agentbus.contracts.expiry import CleanupAction, ExpiryRule, ExpiryStrategy, Step
from agentbus.contracts.profile import Profile, SessionType
from agentbus.contracts.session import SessionState
from agentbus.workers.domain.expiry import (
    condition_named,
    conditions,
    holds_at,
    is_for,
    register_condition,
)
from agentbus.workers.domain.expiry.documents import checked_rules, parsed_rules
from tests.harness.builders import NOON, a_conversation, a_head

HOUR = timedelta(hours=1)
HEAD = a_head(a_conversation("rules"), active=600).model_copy(
    update={
        "sequence": 3,
        "message_count": 5,
        "profile": Profile(owner="ada", agent_id="helper", session_type=SessionType.GROUP, tags=("paid", "beta", "eu")),
    }
)
LAST = HEAD.last_activity


@pytest.fixture(autouse=True)
def no_conditions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin with no registered conditions, and leave none behind."""
    monkeypatch.setattr(conditions, "_conditions", {})


def a_rule(strategy: str = "time", actions: Any = ("archive",), rule_id: str = "rule", **fields: Any) -> ExpiryRule:
    """Return a rule as people write it: what is no field of a rule is one of its conditions."""
    own = {name: fields.pop(name) for name in tuple(fields) if name in ExpiryRule.model_fields}
    given = fields or {"max_age": 3600}
    return ExpiryRule.model_validate(
        {"rule_id": rule_id, "strategy": strategy, "conditions": given, "actions": actions, **own}
    )


def test_a_rule_is_written_in_plain_words() -> None:
    rule = ExpiryRule(
        rule_id="old",
        strategy="time",
        conditions={"max_age": 3600},
        actions=["notify", {"action": "archive", "after": 86400}],
    )
    assert (rule.name, rule.strategy, rule.enabled, rule.priority) == ("old", ExpiryStrategy.TIME, True, 0)
    assert rule.actions == (Step(action=CleanupAction.NOTIFY), Step(action=CleanupAction.ARCHIVE, after=86400))
    assert ExpiryRule.model_validate_json(rule.model_dump_json()) == rule
    assert a_rule(name="Old ones").name == "Old ones"


@pytest.mark.parametrize(
    ("strategy", "asked", "expected"),
    [
        ("time", {"max_age": 3600}, NOON + HOUR),
        ("time", {"max_age": 0.0015}, NOON + timedelta(milliseconds=2)),
        ("activity", {"idle_for": 3600}, NOON + timedelta(seconds=600) + HOUR),
        ("usage", {"max_messages": 5}, NOON + timedelta(seconds=600)),
        ("usage", {"max_messages": 6}, None),
        ("hybrid", {"max_age": 60, "idle_for": 60}, NOON + timedelta(seconds=660)),
        ("hybrid", {"max_age": 60, "idle_for": 60, "match": "any"}, NOON + timedelta(seconds=60)),
        ("hybrid", {"max_age": 7200, "max_messages": 5}, NOON + 2 * HOUR),
        ("hybrid", {"max_age": 7200, "max_messages": 5, "match": "any"}, NOON + timedelta(seconds=600)),
        ("hybrid", {"max_age": 7200, "max_messages": 6}, None),
        ("hybrid", {"max_age": 7200, "max_messages": 6, "match": "any"}, NOON + 2 * HOUR),
        ("hybrid", {"max_age": 1, "idle_for": 2, "max_messages": 6, "match": "any"}, NOON + timedelta(seconds=1)),
    ],
)
def test_when_a_rule_holds(strategy: str, asked: dict[str, Any], expected: datetime | None) -> None:
    assert holds_at(a_rule(strategy, **asked), HEAD) == expected


@pytest.mark.parametrize("match", ["all", "any"])
def test_a_moment_beyond_the_calendar_never_comes(match: str) -> None:
    late = HEAD.model_copy(update={"created_at": datetime(9999, 1, 1, tzinfo=UTC)})
    century = 3_155_760_000
    assert holds_at(a_rule("time", max_age=century), late) is None
    both = holds_at(a_rule("hybrid", max_age=century, idle_for=60, match=match), late)
    assert both == (None if match == "all" else NOON + timedelta(seconds=660))


def test_a_conversation_without_a_session_holds_nothing() -> None:
    empty = SessionState.empty(a_conversation("rules"))
    rules = [a_rule("time", max_age=1), a_rule("activity", idle_for=1), a_rule("usage", max_messages=1)]
    assert [holds_at(rule, empty) for rule in rules] == [None] * 3


@pytest.mark.parametrize(
    ("selectors", "expected"),
    [
        ({}, True),
        ({"enabled": False}, False),
        ({"platforms": ["telegram", "slack"]}, True),
        ({"platforms": ["slack"]}, False),
        ({"session_types": ["group"]}, True),
        ({"session_types": ["private"]}, False),
        ({"agent_ids": ["helper"]}, True),
        ({"agent_ids": ["other"]}, False),
        ({"owners": ["ada", "bob"]}, True),
        ({"owners": ["bob"]}, False),
        ({"tags": ["eu", "paid"]}, True),
        ({"tags": ["eu", "free"]}, False),
        ({"owners": ["ada"], "tags": ["free"]}, False),
    ],
)
def test_which_sessions_a_rule_is_for(selectors: dict[str, Any], expected: bool) -> None:
    assert is_for(a_rule(max_age=1, **selectors), HEAD) is expected


def test_a_session_without_an_address_has_no_platform() -> None:
    unaddressed = HEAD.model_copy(update={"address": None})
    assert is_for(a_rule(), unaddressed)
    assert not is_for(a_rule(max_age=1, platforms=list(Platform)), unaddressed)


def test_a_condition_of_ones_own_is_asked() -> None:
    register_condition("at-night", lambda head: head.last_activity and head.last_activity + HOUR)
    register_condition("not-this-one", lambda _: None)
    assert LAST
    assert holds_at(a_rule("custom", custom="at-night"), HEAD) == LAST + HOUR
    assert holds_at(a_rule("custom", custom="not-this-one"), HEAD) is None


def test_a_condition_may_answer_in_any_time_zone() -> None:
    east = timezone(timedelta(hours=5))
    register_condition("east", lambda _: datetime(2026, 1, 1, 12, 0, 0, 1999, tzinfo=east))
    since = holds_at(a_rule("custom", custom="east"), HEAD)
    assert since == datetime(2026, 1, 1, 7, 0, 0, 1000, tzinfo=UTC)


def test_an_unknown_condition_is_told_with_what_to_do() -> None:
    register_condition("known", lambda _: None)
    with pytest.raises(ConfigurationError, match=r"no condition 'other' .*registered: known.*register_condition\('oth"):
        holds_at(a_rule("custom", custom="other"), HEAD)


def test_a_name_stands_for_one_condition() -> None:
    def first(head: SessionState) -> datetime | None:
        return head.created_at

    register_condition("name", first)
    register_condition("name", first)
    assert condition_named("name") is first
    with pytest.raises(ConfigurationError, match="another condition 'name' already"):
        register_condition("name", lambda _: None)


@pytest.mark.parametrize(
    "condition",
    [lambda _: datetime(2026, 1, 1), lambda _: 1 / 0, lambda _: "soon"],  # noqa: DTZ001 -- this is what is refused
    ids=["no-zone", "raises", "no-moment"],
)
def test_a_condition_that_fails_is_told_with_its_session(condition: Any) -> None:
    register_condition("bad", condition)
    with pytest.raises(ConfigurationError, match=rf"condition 'bad' failed for session {HEAD.session_id}: "):
        holds_at(a_rule("custom", custom="bad"), HEAD)


@pytest.mark.parametrize(
    ("strategy", "asked"),
    [
        ("time", {"idle_for": 1}),
        ("time", {"max_age": 1, "idle_for": 1}),
        ("activity", {"max_age": 1}),
        ("usage", {"custom": "mine"}),
        ("custom", {"max_messages": 1}),
        ("hybrid", {"max_age": 1}),
        ("hybrid", {"max_age": 1, "idle_for": 1, "custom": "mine"}),
        ("time", {"max_age": 0}),
        ("usage", {"max_messages": 0}),
        ("sometimes", {"max_age": 1}),
    ],
)
def test_a_rule_needs_what_its_strategy_looks_at(strategy: str, asked: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        a_rule(strategy, **asked)


@pytest.mark.parametrize(
    "actions",
    [
        ["notify", "suspend", {"action": "archive", "after": 1}, {"action": "delete", "after": 1}],
        ["expire", "archive", "delete"],
        ["merge", "delete"],
        ["suspend", "notify"],
    ],
)
def test_steps_that_may_follow_each_other(actions: list[Any]) -> None:
    assert len(a_rule(actions=actions).actions) == len(actions)


@pytest.mark.parametrize(
    ("actions", "told"),
    [
        (["delete", "archive"], "archive can't follow delete"),
        (["archive", "expire"], "expire can't follow archive"),
        (["archive", "archive"], "archive can't follow archive"),
        (["expire", "notify"], "notify can't follow expire"),
        (["merge", "suspend"], "suspend can't follow merge"),
        ([], "at least 1 item"),
        (["shout"], "Input should be 'notify'"),
        ([{"action": "archive", "after": -1}], "greater than or equal to 0"),
    ],
)
def test_steps_that_a_session_can_not_take(actions: list[Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        a_rule(actions=actions)


PLAIN = {"rule_id": "old", "strategy": "time", "conditions": {"max_age": 3600}, "actions": ["archive"]}


@pytest.mark.parametrize("document", [[PLAIN], {"rules": [PLAIN]}, (PLAIN,)])
def test_a_document_of_rules(document: object) -> None:
    assert checked_rules(document) == (a_rule(rule_id="old"),)


@pytest.mark.parametrize("document", [[], {}, {"rules": []}])
def test_a_document_without_rules(document: object) -> None:
    assert checked_rules(document) == ()


def test_a_document_in_json_and_in_toml() -> None:
    toml = """
        [[rules]]
        rule_id = "old"
        strategy = "hybrid"
        conditions = { max_age = 3600, idle_for = 60.5, match = "any" }
        actions = ["notify", { action = "archive", after = 86400 }]
        priority = 3
    """
    json = """{"rules": [{"rule_id": "old", "strategy": "hybrid", "priority": 3,
        "conditions": {"max_age": 3600, "idle_for": 60.5, "match": "any"},
        "actions": ["notify", {"action": "archive", "after": 86400}]}]}"""
    (rule,) = parsed_rules(toml, "toml")
    assert parsed_rules(json, "json") == (rule,)
    assert (rule.priority, rule.conditions.idle_for, rule.actions[1].after) == (3, 60.5, 86400)


@pytest.mark.parametrize(("text", "form", "told"), [("[{", "json", "not JSON: .*line 1"), ("= 1", "toml", "not TOML")])
def test_text_that_is_no_document(text: str, form: Any, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        parsed_rules(text, form)


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ([{**PLAIN, "conditions": {"max_age": -1}}], r"expiry rule 'old': conditions\.max_age: .*greater than 0"),
        ([{**PLAIN, "actions": ["archive", "shout"]}], r"expiry rule 'old': actions\.1\.action: "),
        ([{**PLAIN, "colour": "red"}], r"expiry rule 'old': colour: Extra inputs"),
        ([{**PLAIN, "strategy": "usage"}], r"expiry rule 'old': .*by usage needs the condition max_messages"),
        ([PLAIN, {"strategy": "time"}], r"expiry rule number 2: rule_id: Field required; .*number 2: conditions: "),
        ([PLAIN, 7], r"expiry rule number 2: "),
        ([PLAIN, PLAIN], r"expiry rule 'old': there are 2 of this id"),
        ({"rule": [PLAIN]}, r"no such key: rule; the rules go under `rules`"),
        ("old", r"a list of rules is needed"),
        ({"rules": PLAIN}, r"a list of rules is needed"),
        (None, r"a list of rules is needed"),
    ],
)
def test_what_is_wrong_is_told_by_rule_and_field(document: object, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        checked_rules(document)


def test_all_that_is_wrong_is_told_at_once() -> None:
    with pytest.raises(ConfigurationError, match=r"'old': priority: .*; expiry rule 'new': enabled: "):
        checked_rules([{**PLAIN, "priority": "high"}, {**PLAIN, "rule_id": "new", "enabled": "perhaps"}])
