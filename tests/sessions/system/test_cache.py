"""The cache of contexts."""

import asyncio

import pytest

from agentbus.contracts.errors import SchemaViolation
from agentbus.sessions import (
    ContextManager,
    EditConflict,
    Message,
    MessageType,
    SessionContext,
    SessionNotFound,
    SessionSystem,
)


class Seconds:
    """A clock for the cache, moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


@pytest.fixture
def cache(system: SessionSystem, seconds: Seconds) -> ContextManager:
    return ContextManager(system, capacity=3, seconds=10, clock=seconds)


async def found(cache: ContextManager, session_id: str) -> SessionContext:
    context = await cache.get(session_id)
    assert context is not None
    return context


async def test_what_was_read_lately_is_not_read_again(
    cache: ContextManager, system: SessionSystem, seconds: Seconds
) -> None:
    session = await system.create_session("chat", "ann", "web")
    assert cache.info().hit_rate == 0

    for _ in range(4):
        assert await cache.get(session.session_id) == session
    info = cache.info()
    assert (info.hits, info.misses, info.hit_rate, info.size, info.capacity) == (3, 1, 0.75, 1, 3)

    await system.update_session_metadata(session.session_id, {"a": 1})
    assert (await found(cache, session.session_id)).metadata == {}
    seconds.now = 11
    assert (await found(cache, session.session_id)).metadata == {"a": 1}


async def test_what_it_gives_out_is_a_copy(cache: ContextManager, system: SessionSystem) -> None:
    session = await system.create_session("chat", "ann", "web", custom_data={"list": [1]})
    for _ in range(2):
        context = await found(cache, session.session_id)
        context.data["list"].append(2)
        context.set_data("b", 1)

    assert (await found(cache, session.session_id)).data == {"list": [1]}


async def test_it_keeps_those_used_last(cache: ContextManager, system: SessionSystem) -> None:
    ids = [(await system.create_session(user_id="ann")).session_id for _ in range(4)]
    for session_id in (*ids[:3], ids[0], ids[3]):
        await cache.get(session_id)
    before = cache.info()

    assert before.size == 3
    await cache.get(ids[0])
    assert cache.info().hits == before.hits + 1
    await cache.get(ids[1])
    assert cache.info().misses == before.misses + 1


async def test_what_was_saved_through_it_is_seen_at_once(cache: ContextManager, system: SessionSystem) -> None:
    session = await system.create_session("chat", "ann", "web")
    context = await found(cache, session.session_id)
    context.set_data("a", 1)

    await cache.set(context)

    assert (await found(cache, session.session_id)).data == {"a": 1}
    kept = await system.get_session(session.session_id)
    assert kept is not None
    assert kept.data == {"a": 1}


async def test_a_slow_read_does_not_bring_back_the_past(
    cache: ContextManager, system: SessionSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = await system.create_session("chat", "ann", "web")
    read, go_on = asyncio.Event(), asyncio.Event()
    get_session = system.get_session

    async def slow(session_id: str) -> SessionContext | None:
        context = await get_session(session_id)
        read.set()
        await go_on.wait()
        return context

    monkeypatch.setattr(system, "get_session", slow)
    reading = asyncio.create_task(cache.get(session.session_id))
    await read.wait()
    session.set_data("a", 1)
    await cache.set(session)
    go_on.set()
    await reading

    assert (await found(cache, session.session_id)).data == {"a": 1}


async def test_an_old_copy_never_writes_over_others(cache: ContextManager, system: SessionSystem) -> None:
    session = await system.create_session("chat", "ann", "web")
    old = await found(cache, session.session_id)
    session.set_data("a", 1)
    await system.update_session(session)

    old.set_data("a", 2)
    with pytest.raises(EditConflict):
        await cache.set(old)
    assert (await found(cache, session.session_id)).data == {"a": 1}


async def test_many_at_once(cache: ContextManager, system: SessionSystem) -> None:
    one, two = [await system.create_session(user_id="ann") for _ in range(2)]
    found = await cache.get_many([one.session_id, two.session_id, "missing", one.session_id])
    assert set(found) == {one.session_id, two.session_id}

    for context in found.values():
        context.set_data("a", 1)
    found[two.session_id].data["bad"] = object()
    await system.close_session(one.session_id)
    outcomes = await cache.set_many(found.values())

    assert isinstance(outcomes[one.session_id], SessionNotFound)
    assert isinstance(outcomes[two.session_id], SchemaViolation)
    assert await cache.get("missing") is None
    del found[two.session_id].data["bad"]
    assert await cache.set_many([found[two.session_id]]) == {two.session_id: None}


async def test_a_context_is_written_as_text_and_read_again(system: SessionSystem) -> None:
    session = await system.create_session("chat", "ann", "telegram", custom_data={"a": [1, {"b": None}]}, tags=["t"])
    session.add_message(Message(content="🌍", user_id="ann", message_type=MessageType.IMAGE))
    await system.update_session(session)

    text = ContextManager.serialize(session)
    again = ContextManager.deserialize(text)

    assert again == session
    again.set_data("c", 1)
    again.add_message(Message(content="more", user_id="ann"))
    assert await system.update_session(ContextManager.deserialize(ContextManager.serialize(again)))
    kept = await system.get_session(session.session_id)
    assert kept is not None
    assert kept.data == {"a": [1, {"b": None}], "c": 1}
    assert [one.content for one in kept.conversation_history] == ["🌍", "more"]


@pytest.mark.parametrize("text", ["", "null", "[]", "{}", '{"session_id": 1}', "\x00"])
def test_text_that_is_no_context(text: str) -> None:
    with pytest.raises(SchemaViolation, match="not a serialized context"):
        ContextManager.deserialize(text)


@pytest.mark.parametrize(
    ("values", "where"),
    [
        ({"a": {"b": object()}}, "data.a"),
        ({"a": float("inf")}, "data"),
        ({1: 2}, "data.1"),
        ({"a": "x" * 300_000}, "data"),
        ({"a\x00": 1}, "data"),
    ],
)
def test_validation_says_where_and_why(values: dict[str, object], where: str) -> None:
    with pytest.raises(SchemaViolation, match=where):
        ContextManager.validate(values)
    ContextManager.validate({"a": [1, 2.5, "x", None, {"b": True}]})
