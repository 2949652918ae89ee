"""The context manager: a bounded cache of contexts."""

import pytest

from agentbus.contracts.errors import SchemaViolation
from agentbus.sessions import CacheInfo, ContextManager, EditConflict, Message
from tests.tour.registry import shows
from tests.tour.world import World

_LONG = 60.0


@shows("ContextManager")
async def show_context_manager(world: World) -> None:
    now = [0.0]
    cache = ContextManager(world.manager, capacity=2, seconds=1.0, clock=lambda: now[0])
    ids = [(await world.session()).session_id for _ in range(3)]
    for session_id in ids:
        await cache.get(session_id)
    assert cache.info().size == 2
    now[0] = 1.5
    await cache.get(ids[2])
    assert (cache.info().hits, cache.info().misses) == (0, 4)


@shows("ContextManager.info")
async def show_info(world: World) -> None:
    cache = ContextManager(world.manager, seconds=_LONG)
    made = await world.session()
    await cache.get(made.session_id)
    await cache.get(made.session_id)
    assert cache.info() == CacheInfo(size=1, capacity=1000, hits=1, misses=1)


@shows("CacheInfo")
async def show_cache_info(world: World) -> None:
    cache = ContextManager(world.manager, capacity=7, seconds=_LONG)
    assert await cache.get("no-such-session") is None
    info = cache.info()
    assert (info.size, info.capacity, info.hits, info.misses) == (0, 7, 0, 1)


@shows("CacheInfo.hit_rate")
async def show_hit_rate(world: World) -> None:
    cache = ContextManager(world.manager, seconds=_LONG)
    assert cache.info().hit_rate == 0
    made = await world.session()
    for _ in range(4):
        await cache.get(made.session_id)
    assert cache.info().hit_rate == 0.75


@shows("ContextManager.get")
async def show_get(world: World) -> None:
    cache = ContextManager(world.manager, seconds=_LONG)
    made = await world.session()
    copy = await cache.get(made.session_id)
    assert copy == made
    assert copy is not None
    copy.set_data("mine", True)
    assert await cache.get(made.session_id) == made


@shows("ContextManager.set")
async def show_set(world: World) -> None:
    cache = ContextManager(world.manager, seconds=_LONG)
    made = await world.session()
    mine, theirs = await cache.get(made.session_id), await world.read(made.session_id)
    assert mine is not None
    mine.set_data("a", 1)
    await cache.set(mine)
    assert (await world.read(made.session_id)).data == {"a": 1}
    kept = await cache.get(made.session_id)
    assert kept is not None
    assert (kept.data, cache.info().hits) == ({"a": 1}, 1)
    theirs.set_data("a", 2)
    with pytest.raises(EditConflict):
        await cache.set(theirs)


@shows("ContextManager.get_many")
async def show_get_many(world: World) -> None:
    cache = ContextManager(world.manager, seconds=_LONG)
    first, second = await world.session(), await world.session()
    found = await cache.get_many([first.session_id, "no-such-session", second.session_id])
    assert found == {first.session_id: first, second.session_id: second}


@shows("ContextManager.set_many")
async def show_set_many(world: World) -> None:
    cache = ContextManager(world.manager, seconds=_LONG)
    good, bad = await world.session(), await world.session()
    good.set_data("a", 1)
    bad.data["a"] = object()
    outcomes = await cache.set_many([bad, good])
    assert outcomes[good.session_id] is None
    assert isinstance(outcomes[bad.session_id], SchemaViolation)
    assert (await world.read(good.session_id)).data == {"a": 1}
    assert (await world.read(bad.session_id)).data == {}


@shows("ContextManager.forget")
async def show_forget(world: World) -> None:
    cache = ContextManager(world.manager, seconds=_LONG)
    made = await world.session()
    await cache.get(made.session_id)
    made.set_data("a", 1)
    await world.manager.update_session(made)
    old = await cache.get(made.session_id)
    cache.forget(made.session_id)
    new = await cache.get(made.session_id)
    assert (old and old.data, new and new.data) == ({}, {"a": 1})


@shows("ContextManager.validate")
async def show_validate(world: World) -> None:
    made = await world.session(custom_data={"deep": [{"a": None}]})
    ContextManager.validate((await world.read(made.session_id)).data)
    with pytest.raises(SchemaViolation, match=r"metadata\.when"):
        ContextManager.validate({"when": made.created_at}, "metadata")


@shows("ContextManager.serialize")
async def show_serialize(world: World) -> None:
    made = await world.session(tags=["vip"])
    text = ContextManager.serialize(made)
    assert f'"session_id":"{made.session_id}"' in text
    assert '"tags":["vip"]' in text


@shows("ContextManager.deserialize")
async def show_deserialize(world: World) -> None:
    made = await world.session(custom_data={"a": [1, 2.5, None]})
    await world.manager.add_message_to_session(made.session_id, Message(content="hello", user_id="ann"))
    read = await world.read(made.session_id)
    assert ContextManager.deserialize(ContextManager.serialize(read)) == read
    with pytest.raises(SchemaViolation):
        ContextManager.deserialize('{"session_id": 1}')
