"""The states that a worker holds in memory: bounded in number and in bytes."""

import pytest
from pydantic import JsonValue

from agentbus.contracts.session import SessionState
from agentbus.storage.memory import MemoryStore
from agentbus.workers.session.live import LiveStates
from agentbus.workers.session.sizes import Sized
from tests.harness.builders import a_conversation, a_head

LARGE: dict[str, JsonValue] = {"text": "x" * 100_000}


def states(count: int, data: dict[str, JsonValue]) -> list[SessionState]:
    return [a_head(a_conversation(), data=data) for _ in range(count)]


def test_the_longest_unused_go_when_there_are_too_many() -> None:
    live = LiveStates(MemoryStore(), capacity=3)
    for state in states(5, {}):
        live.put(state)
    assert len(live) == 3


async def test_the_longest_unused_go_when_they_take_too_many_bytes() -> None:
    live = LiveStates(MemoryStore(), capacity=100, most_bytes=500_000)
    held = states(20, LARGE)
    for state in held:
        live.put(state)
    assert len(live) == 4
    assert live.bytes <= 500_000
    assert await live.get([held[-1].conversation_id]) == {held[-1].conversation_id: held[-1]}
    for state in held[-4:]:
        live.put(state.model_copy(update={"data": {}}))
    assert live.bytes < 100_000, "what became smaller makes room"
    for state in held:
        live.drop(state.conversation_id)
    assert (len(live), live.bytes) == (0, 0)


def test_a_single_one_that_is_too_large_is_held_by_nobody() -> None:
    live = LiveStates(MemoryStore(), capacity=100, most_bytes=50_000)
    live.put(states(1, LARGE)[0])
    assert (len(live), live.bytes) == (0, 0)


def test_bytes_are_forgotten_with_the_states() -> None:
    live = LiveStates(MemoryStore(), capacity=100)
    for state in states(5, LARGE):
        live.put(state)
    live.drop_where(lambda _: True)
    assert (len(live), live.bytes) == (0, 0)


def test_only_what_changed_is_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    (state,) = states(1, LARGE)
    first = Sized(state)
    assert 100_000 < first.size < 120_000
    monkeypatch.setattr("agentbus.workers.session.sizes.json_size", lambda _: pytest.fail("measured again"))
    more = state.model_copy(update={"message_count": 9})
    assert Sized(more, first).size == first.size
    assert Sized(state.model_copy(update={"waiting": ("a",) * 1000}), first).size > first.size + 50_000
