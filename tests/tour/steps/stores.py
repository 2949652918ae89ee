"""Session stores: that of the mode; where there is none of that kind, the one in memory."""

import pytest

from agentbus.contracts.errors import SchemaViolation
from agentbus.sessions import (
    DatabaseSessionStore,
    EditConflict,
    FileSessionStore,
    MemorySessionStore,
    NotInitialized,
    SessionStore,
)
from tests.harness.clock import later
from tests.tour.registry import shows
from tests.tour.world import Mode, World


def _store(world: World) -> SessionStore:
    match world.place.mode:
        case Mode.FILES:
            return FileSessionStore(world.place.folder / "store")
        case Mode.SQLITE:
            return DatabaseSessionStore(world.place.folder / "store.db")
        case _:
            return MemorySessionStore()


async def _kept(store: SessionStore, user: str) -> bool:
    """Whether a session is still there when the store was closed and opened again."""
    async with store:
        made = await store.create(user_id=user)
    async with store:
        return await store.get(made.session_id) is not None


@shows("SessionStore")
async def show_session_store(world: World) -> None:
    with pytest.raises(TypeError, match="abstract"):
        SessionStore()  # type: ignore[abstract]
    assert isinstance(_store(world), SessionStore)


@shows("MemorySessionStore")
async def show_memory_session_store(world: World) -> None:
    assert not await _kept(MemorySessionStore(), world.name())


@shows("FileSessionStore")
async def show_file_session_store(world: World) -> None:
    folder = world.place.folder / "kept"
    assert await _kept(FileSessionStore(folder), world.name())
    assert list(folder.rglob("*.json"))


@shows("DatabaseSessionStore")
async def show_database_session_store(world: World) -> None:
    path = world.place.folder / "kept.db"
    assert await _kept(DatabaseSessionStore(path), world.name())
    assert path.read_bytes().startswith(b"SQLite format 3")


@shows("SessionStore.start")
async def show_start(world: World) -> None:
    store = _store(world)
    with pytest.raises(NotInitialized):
        await store.get_session_count()
    await store.start()
    await store.start()
    assert await store.get_session_count() >= 0
    await store.stop()


@shows("SessionStore.stop")
async def show_stop(world: World) -> None:
    store = _store(world)
    await store.start()
    await store.stop()
    await store.stop()
    with pytest.raises(NotInitialized):
        await store.create(user_id=world.name())


@shows("SessionStore.create")
async def show_create(world: World) -> None:
    async with _store(world) as store:
        made = await store.create(chat_id="1", user_id=world.name(), platform="slack", custom_data={"a": 1})
        assert (made.chat_id, made.platform, made.data) == ("1", "slack", {"a": 1})
        with pytest.raises(SchemaViolation):
            await store.create(chat_id="1")


@shows("SessionStore.get")
async def show_get(world: World) -> None:
    async with _store(world) as store:
        made = await store.create(user_id=world.name())
        found = await store.get(made.session_id)
        assert found is not None
        assert found.user_id == made.user_id
        assert await store.get("no-such-session") is None


@shows("SessionStore.update")
async def show_update(world: World) -> None:
    async with _store(world) as store:
        made = await store.create(user_id=world.name())
        stale = await store.get(made.session_id)
        assert stale is not None
        made.set_data("step", 1)
        assert await store.update(made)
        assert not await store.update(made)
        stale.set_data("step", 2)
        with pytest.raises(EditConflict):
            await store.update(stale)
        found = await store.get(made.session_id)
        assert found is not None
        assert found.data == {"step": 1}


@shows("SessionStore.delete")
async def show_delete(world: World) -> None:
    async with _store(world) as store:
        made = await store.create(user_id=world.name())
        assert await store.delete(made.session_id)
        assert not await store.delete(made.session_id)
        assert await store.get(made.session_id) is None


@shows("SessionStore.find_sessions")
async def show_find_sessions(world: World) -> None:
    async with _store(world) as store:
        user = world.name()
        made = await store.create(user_id=user, tags=["vip"])
        await store.create(user_id=user)
        assert [one.session_id for one in await store.find_sessions(owner=user, tags=["vip"])] == [made.session_id]
        assert len(await store.find_sessions(owner=user)) == 2
        with pytest.raises(SchemaViolation, match="colour"):
            await store.find_sessions(colour="blue")


@shows("SessionStore.cleanup_expired")
async def show_cleanup_expired(world: World) -> None:
    async with _store(world) as store:
        made = await store.create(user_id=world.name(), expires_in=0.01)
        await later(0.01)
        assert await store.cleanup_expired() == 1
        found = await store.get(made.session_id)
        assert found is not None
        assert found.is_expired()
        assert await store.cleanup_expired() == 0


@shows("SessionStore.get_session_count")
async def show_get_session_count(world: World) -> None:
    async with _store(world) as store:
        before = await store.get_session_count()
        made = await store.create(user_id=world.name())
        assert await store.get_session_count() == before + 1
        await store.delete(made.session_id)
        assert await store.get_session_count() == before
