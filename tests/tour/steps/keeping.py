"""Checkpoints and locks."""

import asyncio

import pytest

from agentbus.sessions import CheckpointNotFound, LockLost, LockTimeout
from tests.harness.clock import later
from tests.tour.registry import shows
from tests.tour.world import World


@shows("Checkpoint")
async def show_checkpoint(world: World) -> None:
    made = await world.session()
    key = await world.manager.save_checkpoint(made.session_id, {"a": 1})
    kept = await world.manager.get_checkpoint(key)
    assert kept is not None
    assert (kept.checkpoint_id, kept.session_id, kept.data) == (key, made.session_id, {"a": 1})
    assert (kept["data"], kept["created_at"]) == (kept.data, kept.created_at)
    with pytest.raises(KeyError):
        kept["colour"]


@shows("SessionManager.save_checkpoint")
async def show_save_checkpoint(world: World) -> None:
    made = await world.session(custom_data={"a": 1, "password": "x"})
    key = world.name("checkpoint")
    assert await world.manager.save_checkpoint(made.session_id, checkpoint_id=key) == key
    await world.manager.save_checkpoint(made.session_id, {"a": 2}, checkpoint_id=key)
    kept = await world.manager.get_checkpoint(key)
    assert kept is not None
    assert kept.data == {"a": 1, "password": "x"}


@shows("SessionManager.get_checkpoint")
async def show_get_checkpoint(world: World) -> None:
    made = await world.session()
    key = await world.manager.save_checkpoint(made.session_id, {"deep": {"b": [1]}}, user_id=made.user_id)
    kept = await world.manager.get_checkpoint(key, user_id=made.user_id)
    assert kept is not None
    assert kept.data == {"deep": {"b": [1]}}
    assert await world.manager.get_checkpoint("no-such-checkpoint") is None


@shows("SessionManager.get_latest_checkpoint")
async def show_get_latest_checkpoint(world: World) -> None:
    made = await world.session()
    assert await world.manager.get_latest_checkpoint(made.session_id) is None
    for number in range(3):
        await world.manager.save_checkpoint(made.session_id, {"number": number})
        await later()
    latest = await world.manager.get_latest_checkpoint(made.session_id)
    assert latest is not None
    assert latest.data == {"number": 2}


@shows("SessionManager.list_checkpoints")
async def show_list_checkpoints(world: World) -> None:
    made = await world.session()
    for number in range(3):
        await world.manager.save_checkpoint(made.session_id, {"number": number})
        await later()
    first = await world.manager.list_checkpoints(made.session_id, limit=2)
    second = await world.manager.list_checkpoints(made.session_id, limit=2, cursor=first.cursor)
    assert [one.data["number"] for one in (*first.items, *second.items)] == [2, 1, 0]


@shows("SessionManager.delete_checkpoint")
async def show_delete_checkpoint(world: World) -> None:
    made = await world.session()
    key = await world.manager.save_checkpoint(made.session_id)
    assert await world.manager.delete_checkpoint(key)
    assert not await world.manager.delete_checkpoint(key)
    assert await world.manager.get_checkpoint(key) is None


@shows("SessionManager.clear_checkpoints")
async def show_clear_checkpoints(world: World) -> None:
    made, other = await world.session(), await world.session()
    for session in (made, made, other):
        await world.manager.save_checkpoint(session.session_id)
    assert await world.manager.clear_checkpoints(made.session_id) == 2
    assert await world.manager.get_latest_checkpoint(made.session_id) is None
    assert await world.manager.get_latest_checkpoint(other.session_id)


@shows("SessionManager.restore_checkpoint")
async def show_restore_checkpoint(world: World) -> None:
    made = await world.session(custom_data={"a": 1})
    key = await world.manager.save_checkpoint(made.session_id)
    made.data = {"b": 2}
    await world.manager.update_session(made)
    await world.manager.restore_checkpoint(made.session_id, key)
    assert (await world.read(made.session_id)).data == {"a": 1}
    with pytest.raises(CheckpointNotFound):
        await world.manager.restore_checkpoint((await world.session()).session_id, key)


@shows("SessionManager.acquire_lock")
async def show_acquire_lock(world: World) -> None:
    made = await world.session()
    first = await world.manager.acquire_lock(made.session_id)
    with pytest.raises(LockTimeout):
        await world.manager.acquire_lock(made.session_id, timeout=0.02)
    await world.manager.release_lock(made.session_id, first)
    assert await world.manager.acquire_lock(made.session_id, timeout=0) > first


@shows("SessionManager.renew_lock")
async def show_renew_lock(world: World) -> None:
    made = await world.session()
    token = await world.manager.acquire_lock(made.session_id, lease=0.5)
    assert await world.manager.renew_lock(made.session_id, token, lease=30)
    await asyncio.sleep(0.6)
    with pytest.raises(LockTimeout):
        await world.manager.acquire_lock(made.session_id, timeout=0)
    assert not await world.manager.renew_lock(made.session_id, token + 1)


@shows("SessionManager.release_lock")
async def show_release_lock(world: World) -> None:
    made = await world.session()
    token = await world.manager.acquire_lock(made.session_id)
    assert await world.manager.release_lock(made.session_id, token)
    assert not await world.manager.release_lock(made.session_id, token)


@shows("SessionManager.lock")
async def show_lock(world: World) -> None:
    made = await world.session()
    seen: list[str] = []

    async def hold(name: str) -> None:
        async with world.manager.lock(made.session_id, timeout=20):
            seen.append(f"{name} in")
            await asyncio.sleep(0.01)
            seen.append(f"{name} out")

    await asyncio.gather(*(hold(name) for name in "abc"))
    assert all(one[0] == two[0] for one, two in zip(seen[::2], seen[1::2], strict=True))
    assert len(seen) == 6


@shows("LockLost")
async def show_lock_lost(world: World) -> None:
    made = await world.session()
    late = await world.manager.acquire_lock(made.session_id)
    await world.manager.release_lock(made.session_id, late)
    async with world.manager.lock(made.session_id) as token:
        made.set_data("a", "mine")
        await world.manager.update_session(made, fence=token)
    made.set_data("a", "late")
    with pytest.raises(LockLost):
        await world.manager.update_session(made, fence=late)
    assert (await world.read(made.session_id)).data == {"a": "mine"}


@shows("LockTimeout")
async def show_lock_timeout(world: World) -> None:
    made = await world.session()
    async with world.manager.lock(made.session_id):
        with pytest.raises(LockTimeout, match="somebody else held"):
            async with world.manager.lock(made.session_id, timeout=0.02):
                pass
