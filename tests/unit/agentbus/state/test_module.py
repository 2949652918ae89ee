"""A component's state is all that it registers and holds, and comes back as it was, or not at all."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentbus.contracts.errors import StateError, StateMismatch
from agentbus.state import LoadReport, StateModule
from agentbus.state.module import camel_case
from agentbus.testing.conformance.store_states_suite import KEYS, VALUES


class Memory(StateModule):
    def __init__(self, *turns: str) -> None:
        self.turns = list(turns)
        self.cache = object()
        self.register_state("turns")


class Tool(StateModule):
    def __init__(self, calls: int = 0) -> None:
        self.calls = calls
        self.register_state("calls")


class Agent(StateModule):
    component_name = "anna"

    def __init__(self, *turns: str, calls: tuple[int, ...] = (0, 0)) -> None:
        self.mood = "calm"
        self.register_state("mood")
        self.memory = Memory(*turns)
        self.tools = [Tool(one) for one in calls]
        self.by_name = {"clock": Tool(7)}


class Keeper(StateModule):
    """Keeps whatever it is given."""

    def __init__(self, value: Any = None) -> None:
        self.value = value
        self.register_state("value")


def test_the_state_is_what_is_registered_and_what_components_held_have() -> None:
    agent = Agent("hi", calls=(1, 2))
    assert agent.registered_attributes == ("mood",)
    assert agent.state_dict() == {
        "mood": "calm",
        "memory": {"turns": ["hi"]},
        "tools": {"0": {"calls": 1}, "1": {"calls": 2}},
        "by_name": {"clock": {"calls": 7}},
    }


def test_it_comes_back_at_every_depth() -> None:
    agent, other = Agent("hi", "there", calls=(1, 2)), Agent()
    agent.mood = "glad"
    assert other.load_state_dict(agent.state_dict()) == LoadReport()
    assert other.state_dict() == agent.state_dict()
    assert (other.mood, other.memory.turns, [tool.calls for tool in other.tools]) == ("glad", ["hi", "there"], [1, 2])


@given(VALUES)
def test_whatever_is_json_comes_back_as_it_is(value: Any) -> None:
    other = Keeper()
    other.load_state_dict(Keeper(value).state_dict())
    assert repr(other.value) == repr(value)


@given(st.dictionaries(KEYS, VALUES, max_size=4), st.booleans())
def test_whatever_is_loaded_it_is_all_or_nothing(state: dict[str, Any], strict: bool) -> None:
    agent, before = Agent("hi"), Agent("hi").state_dict()
    try:
        report = agent.load_state_dict(state, strict=strict)
    except StateError:
        assert agent.state_dict() == before
    else:
        assert report.complete or not strict


def test_a_state_is_a_copy() -> None:
    memory = Memory("hi")
    state = memory.state_dict()
    memory.turns.append("there")
    assert state == {"turns": ["hi"]}
    memory.load_state_dict(state)
    state["turns"].append("later")  # type: ignore[union-attr]  # it is a list
    assert memory.turns == ["hi"]


@pytest.mark.parametrize(
    "value",
    [
        (1, 2),
        {1: "a"},
        {"a"},
        b"a",
        float("nan"),
        float("inf"),
        datetime.now(UTC),
        [{"deep": [object()]}],
        type("Text", (str,), {})("a"),
    ],
)
def test_what_would_not_come_back_as_it_is_is_refused_with_its_path(value: Any) -> None:
    with pytest.raises(StateError, match=r"^value.*to_json"):
        Keeper(value).state_dict()


def test_what_holds_itself_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(StateError, match="in itself"):
        Keeper(value).state_dict()


@dataclass
class Plan:
    steps: list[str]


def test_conversions_make_json_of_a_value_and_a_value_of_it() -> None:
    keeper, other = Keeper(Plan(["look", "leap"])), Keeper()
    for one in (keeper, other):
        one.register_state("value", to_json=asdict, from_json=lambda state: Plan(**state))
    state = keeper.state_dict()
    assert state == {"value": {"steps": ["look", "leap"]}}
    other.load_state_dict(state)
    assert other.value == Plan(["look", "leap"])


def test_a_conversion_that_fails_says_where_and_changes_nothing() -> None:
    keeper = Keeper(3)
    keeper.register_state("value", to_json=lambda value: value / 0, from_json=int)
    with pytest.raises(StateError, match="value: to_json failed with ZeroDivisionError"):
        keeper.state_dict()
    with pytest.raises(StateError, match="value: from_json failed with ValueError"):
        keeper.load_state_dict({"value": "secret"})
    assert keeper.value == 3


def test_what_is_missing_or_unexpected_is_refused_at_any_depth() -> None:
    agent = Agent("hi")
    state: dict[str, Any] = agent.state_dict()
    del state["memory"]["turns"], state["tools"]["1"]
    state["by_name"]["bell"] = {}
    state["rank"] = 1
    before = agent.state_dict()
    with pytest.raises(StateMismatch, match=r"missing: memory.turns, tools.1; unexpected: by_name.bell, rank"):
        agent.load_state_dict(state)
    assert agent.state_dict() == before
    report = agent.load_state_dict(state | {"mood": "glad"}, strict=False)
    assert report == LoadReport(missing=("memory.turns", "tools.1"), unexpected=("by_name.bell", "rank"))
    assert not report.complete
    assert (agent.mood, agent.memory.turns) == ("glad", ["hi"])


@pytest.mark.parametrize("part", ["memory", "tools", "by_name"])
@pytest.mark.parametrize("strict", [True, False])
def test_something_else_where_a_component_is_is_refused(part: str, strict: bool) -> None:
    agent, state = Agent("hi"), Agent("there").state_dict()
    with pytest.raises(StateError, match=f"{part}.*component"):
        agent.load_state_dict({**state, part: 1}, strict=strict)
    assert agent.memory.turns == ["hi"]


class Picky(StateModule):
    """Takes no negative level, and says so only when it is set."""

    def __init__(self, name: str = "", level: int = 0) -> None:
        self.name = name
        self.level = level
        self.register_state("name")
        self.register_state("level")

    @property
    def level(self) -> int:
        return self._level

    @level.setter
    def level(self, level: int) -> None:
        if level < 0:
            raise ValueError("negative")
        self._level = level


def test_an_attribute_that_does_not_take_its_value_leaves_all_as_it_was() -> None:
    agent, others = Picky("anna", 3), [Picky("bea", 4), Picky("cleo", 5)]
    agent.others = others  # type: ignore[attr-defined]
    before = agent.state_dict()
    states: dict[str, Any] = {"0": {"name": "y", "level": 2}, "1": {"name": "z", "level": -1}}
    state: dict[str, Any] = {"name": "x", "level": 1, "others": states}
    with pytest.raises(StateError, match=r"others.1.level: it can't be set: ValueError"):
        agent.load_state_dict(state)
    assert agent.state_dict() == before


def test_what_is_nested_too_deep_is_refused_both_ways() -> None:
    deep: Any = 1
    for _ in range(10_000):
        deep = [deep]
    with pytest.raises(StateError, match="nested too deep"):
        Keeper().load_state_dict({"value": deep})
    chain = Keeper()
    for _ in range(2_000):
        chain, chain.inner = Keeper(), chain  # type: ignore[attr-defined]
    with pytest.raises(StateError, match="nested too deep"):
        chain.state_dict()
    state: dict[str, Any] = {}
    for _ in range(2_000):
        state = {"value": 1, "inner": state}
    with pytest.raises(StateError, match="nested too deep"):
        chain.load_state_dict(state)


def test_what_is_not_json_is_not_loaded() -> None:
    keeper = Keeper(1)
    with pytest.raises(StateError, match=r"value: a object is not JSON$"):
        keeper.load_state_dict({"value": object()})  # type: ignore[dict-item]  # what a caller may give
    assert keeper.value == 1


def test_a_component_that_holds_one_above_it_does_not_include_it_again() -> None:
    agent, other = Agent("hi"), Agent()
    for one in (agent, other):
        one.memory.owner = one  # type: ignore[attr-defined]  # as memories do
        one.memory.owners = [one]  # type: ignore[attr-defined]
    assert agent.state_dict()["memory"] == {"turns": ["hi"], "owners": {}}
    other.load_state_dict(agent.state_dict())
    assert other.memory.turns == ["hi"]


def test_what_is_registered_can_be_taken_back() -> None:
    keeper = Keeper(1)
    assert keeper.unregister_state("value")
    assert not keeper.unregister_state("value")
    assert keeper.state_dict() == {}
    agent = Agent("hi")
    agent.clear_registered_state()
    assert agent.registered_attributes == ()
    assert "mood" not in agent.state_dict()
    assert "memory" in agent.state_dict(), "what it holds is found by itself"


def test_what_is_not_there_cannot_be_registered() -> None:
    with pytest.raises(StateError, match="no attribute 'moods'"):
        Agent().register_state("moods")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("MemoryStore", "memoryStore"),
        ("HTTPTool", "httpTool"),
        ("Memory", "memory"),
        ("URL", "url"),
        ("_Inner", "inner"),
    ],
)
def test_a_name_is_the_classs_in_camel_case(name: str, expected: str) -> None:
    assert camel_case(name) == expected


def test_a_component_has_its_classs_name_or_its_own() -> None:
    assert Memory().component_name == "memory"
    assert Agent().component_name == "anna"
