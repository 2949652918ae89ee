"""The components of a session are saved together, and loaded together, all of them or none."""

from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from agentbus.contracts.errors import (
    ConfigurationError,
    SchemaViolation,
    StateError,
    StateMismatch,
    StateNotFound,
    StoreUnavailable,
)
from agentbus.state import StateManager, StateModule, StateStore, open_states
from agentbus.storage.memory import MemoryStore
from tests.unit.agentbus.state.test_module import Agent, Keeper, Memory


@pytest.fixture
async def states() -> AsyncIterator[StateStore]:
    async with open_states("memory://") as opened:
        yield opened


def managing(states: StateStore, *components: StateModule) -> StateManager:
    manager = StateManager.for_session_id("ada").with_store(states)
    for component in components:
        manager.add_component(component)
    return manager


async def test_what_one_run_saves_the_next_one_loads(states: StateStore) -> None:
    manager = managing(states, Agent("hi"), Memory("there"))
    assert not await manager.exists()
    assert await manager.load_if_exists() is None
    await manager.save_or_raise()
    assert await manager.exists()
    agent, memory = Agent(), Memory()
    report = await managing(states, agent, memory).load_or_raise()
    assert report.complete
    assert (agent.memory.turns, memory.turns) == (["hi"], ["there"])


async def test_a_second_component_of_a_name_gets_a_number(states: StateStore) -> None:
    manager = managing(states, Memory("a"), Memory("b"), Memory("c")).add_component(Memory("d"), "notes")
    assert manager.component_names == ("memory", "memory_2", "memory_3", "notes")
    await manager.save_or_raise()
    assert await states.load("ada") == {
        "memory": {"turns": ["a"]},
        "memory_2": {"turns": ["b"]},
        "memory_3": {"turns": ["c"]},
        "notes": {"turns": ["d"]},
    }


async def test_loading_is_all_or_nothing_over_all_components(states: StateStore) -> None:
    await states.save("ada", {"memory": {"turns": ["kept"]}, "keeper": {"value": "x"}, "gone": {}})
    memory, keeper = Memory("before"), Keeper(3)
    manager = managing(states, memory, keeper, Agent())
    with pytest.raises(StateMismatch, match="missing: anna; unexpected: gone"):
        await manager.load_or_raise()
    keeper.register_state("value", from_json=int)
    with pytest.raises(StateError, match=r"keeper\.value: from_json failed"):
        await manager.load_or_raise(strict=False)
    assert (memory.turns, keeper.value) == (["before"], 3)
    keeper.register_state("value")
    report = await manager.load_or_raise(strict=False)
    assert (report.missing, report.unexpected) == (("anna",), ("gone",))
    assert (memory.turns, keeper.value) == (["kept"], "x")


async def test_what_is_not_there_is_not_saved_loaded_or_deleted(states: StateStore) -> None:
    manager = managing(states, Memory())
    assert not await manager.save_if_exists()
    assert not await manager.exists()
    assert not await manager.delete_if_exists()
    for call in (manager.load_or_raise, manager.delete_or_raise):
        with pytest.raises(StateNotFound, match="'ada'"):
            await call()
    assert await manager.save()
    assert await manager.save_if_exists()
    await manager.delete_or_raise()
    assert not await manager.exists()


async def test_a_store_that_fails_is_logged_and_the_agent_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(_: object) -> bool:
        raise StoreUnavailable("down")

    store = MemoryStore()
    async with StateStore(store) as states:
        manager = managing(states, Memory("a person's words"))
        with monkeypatch.context() as patch:
            patch.setattr(store.records, "put", fail)
            with capture_logs() as lines:
                assert not await manager.save()
            assert [line["event"] for line in lines] == ["state_not_saved"]
            assert "words" not in str(lines)
            with pytest.raises(StoreUnavailable):
                await manager.save_or_raise()
        assert await manager.save()


async def test_a_component_that_cannot_be_saved_is_told_by_save_too(states: StateStore) -> None:
    with pytest.raises(StateError, match="value"):
        await managing(states, Keeper(object())).save()


async def test_what_is_wrong_is_said_where_it_is_given(states: StateStore) -> None:
    with pytest.raises(SchemaViolation):
        StateManager.for_session_id("a/b")
    with pytest.raises(SchemaViolation):
        managing(states).add_component(Memory(), "")
    with pytest.raises(ConfigurationError, match="with_store"):
        await StateManager("ada").save()
    with pytest.raises(ConfigurationError):
        open_states("nowhere")
