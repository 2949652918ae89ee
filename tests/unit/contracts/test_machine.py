"""State machines as they are written down."""

from typing import Any

import pytest
from pydantic import ValidationError

from agentbus.contracts.machine import StateMachine, by_itself
from agentbus.contracts.session import SessionStatus

OWN = [{"name": "waiting", "status": "active"}, {"name": "solved", "status": "closed"}]


def test_a_machine_is_the_same_after_it_was_kept() -> None:
    machine = StateMachine.model_validate(
        {"states": OWN, "transitions": [{"sources": "active", "target": "waiting", "guard": {"data": {"a": 1}}}]}
    )
    assert machine.leads_from("active") == machine.leads_from("idle") == ["waiting"]
    assert StateMachine.model_validate_json(machine.model_dump_json(exclude_defaults=True)) == machine
    assert "ways" not in machine.model_dump()


@pytest.mark.parametrize(
    ("states", "way", "words"),
    [
        ([{"name": "idle", "status": "active"}], {}, "a state of this name is there already: idle"),
        ([*OWN, OWN[0]], {}, "a state of this name is there already: waiting"),
        ([{"name": "Waiting", "status": "active"}], {}, "pattern"),
        ([{"name": "away", "status": "deleted"}], {}, "one of the statuses active, suspended, expired, closed"),
        (OWN, {"sources": "active", "target": "nowhere"}, "there is no state nowhere: the states are active, "),
        (OWN, {"sources": ["active", "active"], "target": "active"}, "from active to active changes nothing"),
        (OWN, {"sources": "solved", "target": "active"}, "from solved to active leads back to life"),
        (OWN, {"sources": "expired", "target": "waiting"}, "from expired to waiting leads back to life"),
        (OWN, {"sources": "active", "target": "deleted"}, "can't be asked for"),
        (OWN, {"sources": "archived", "target": "closed"}, "can't be asked for"),
        (OWN, {"sources": [], "target": "closed"}, "at least 1"),
        (OWN, {"sources": "active", "target": "closed", "when": "ever"}, "[Ee]xtra"),
        (OWN, {"sources": "active", "target": "closed", "handler": "no spaces"}, "pattern"),
        (OWN, {"sources": "active", "target": "closed", "guard": {"data": {"a": "x" * 262_144}}}, "262144"),
        (OWN, {"sources": "active", "target": "closed", "guard": {"min_age": -1}}, "greater than 0"),
    ],
)
def test_a_machine_that_does_not_fit_together_is_none(states: list[Any], way: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        StateMachine.model_validate({"states": states, "transitions": [way] if way else []})


def test_many_small_guards_are_no_more_than_one_large_one() -> None:
    ways = [{"sources": "active", "target": "closed", "guard": {"data": {"a": "x" * 200_000}}}] * 2
    with pytest.raises(ValidationError, match="bytes of JSON"):
        StateMachine.model_validate({"transitions": ways})


def test_nothing_comes_to_life_by_itself() -> None:
    assert all(not target.is_live for one in SessionStatus if not one.is_live for target in by_itself(one))
    assert all(SessionStatus.DELETED in by_itself(one) for one in SessionStatus if one is not SessionStatus.DELETED)
