"""Storage types, providers, and the session stores."""

from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import pytest

from agentbus.contracts.errors import ConfigurationError, NotInitialized, SchemaViolation
from agentbus.sessions import (
    DatabaseSessionStore,
    FileSessionStore,
    MemorySessionStore,
    SessionNotFound,
    SessionStore,
    SessionSystem,
    StorageType,
    StoreUnavailable,
    SyncPolicy,
    create_expiry_manager,
    create_session_state_tracker,
    create_session_sync,
    register_provider,
)
from agentbus.sessions import providers as providers_module
from agentbus.sessions.config import make_config
from agentbus.storage.memory import MemoryStore


@pytest.fixture(autouse=True)
def no_providers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(providers_module, "_providers", {})


def system_on(storage_type: str, **storage_config: Any) -> SessionSystem:
    return SessionSystem(make_config(storage_type=storage_type, storage_config=storage_config))


@pytest.mark.parametrize(
    ("storage_type", "config", "why"),
    [
        ("floppy", {}, "'floppy' is not known: use one of memory, file, .*register_provider"),
        ("redis", {"url": "redis://x/first"}, "the database is a number"),
        ("redis", {}, "needs storage_config"),
        ("SQL", {"url": "mysql://x"}, "has to name a host and a database"),
        ("file", {}, r'storage_config=\{"storage_dir": \.\.\.\}'),
        ("database", {"path": "x"}, "takes db_path, not path"),
        ("memory", {"url": "x"}, "takes nothing, not url"),
        ("mongodb", {}, "needs storage_config"),
        ("mongodb", {"url": "postgres://x"}, "postgres"),
    ],
)
async def test_a_storage_that_can_not_be_is_explained(storage_type: str, config: dict[str, str], why: str) -> None:
    system = system_on(storage_type, **config)

    with pytest.raises(ConfigurationError, match=why):
        await system.start()
    assert (await system.get_system_status())["system"]["status"] == "stopped"
    await system.stop()


async def test_a_provider_is_chosen_by_its_name() -> None:
    given: list[Any] = []

    def provider(config: Any) -> MemoryStore:
        given.append(config)
        return MemoryStore()

    register_provider("Mine", provider)
    for name in ("mine", "MINE"):
        async with system_on(name, colour="red") as system:
            await system.create_session(user_id="ann")
            assert (await system.get_system_status())["system"]["storage"].lower() == "mine"

    assert given == [{"colour": "red"}] * 2


async def test_a_provider_goes_before_ours() -> None:
    kept = MemoryStore()
    register_provider("memory", lambda _config: kept)

    for _ in range(2):
        async with system_on("memory") as system:
            await system.create_session(user_id="ann")
            total = (await system.get_statistics()).total
    assert total == 2


async def test_sessions_are_kept_in_redis(redis_url: str) -> None:
    config = {"storage_type": StorageType.REDIS, "storage_config": {"url": redis_url}, "partitions": 2}
    async with SessionSystem(make_config(**config)) as system:
        session = await system.create_session(user_id="ann", chat_id="chat", platform="web")
        session.set_data("words", "hello")
        assert await system.update_session(session)

    async with SessionSystem(make_config(**config)) as system:
        found = await system.get_session(session.session_id)
        assert found is not None
        assert found.get_data("words") == "hello"
        assert (await system.get_system_status())["system"]["storage"] == "redis"


@pytest.fixture(params=["memory", "file", "database"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> SessionStore:
    match request.param:
        case "memory":
            return MemorySessionStore()
        case "file":
            return FileSessionStore(tmp_path / "sessions")
        case _:
            return DatabaseSessionStore(tmp_path / "sessions.db")


async def test_a_session_store(store: SessionStore) -> None:
    async with store:
        session = await store.create(chat_id="chat", user_id="ann", platform="web", tags=["t"], expires_in=600)
        other = await store.create(user_id="bob", agent_id="agent")
        session.set_data("a", 1)

        assert await store.update(session)
        assert not await store.update(session)
        assert await store.get(session.session_id) == session
        assert await store.get("missing") is None
        assert await store.get_session_count() == 2
        for filters in ({"user_id": "ann"}, {"chat_id": "chat"}, {"owner": "ann", "tags": ("t",)}, {"platform": "web"}):
            assert [one.session_id for one in await store.find_sessions(**filters)] == [session.session_id]
        assert [one.session_id for one in await store.find_sessions(agent_id="agent")] == [other.session_id]
        assert len(await store.find_sessions()) == 2
        assert len(await store.find_sessions(status="active")) == 2
        for wrong in ({"colour": "red"}, {"status": "asleep"}, {"user_id": ""}):
            with pytest.raises(SchemaViolation, match="can't be found"):
                await store.find_sessions(**wrong)

        assert await store.cleanup_expired() == 0
        assert await store.delete(session.session_id)
        assert not await store.delete(session.session_id)
        session.set_data("a", 2)
        with pytest.raises(SessionNotFound):
            await store.update(session)


async def test_a_store_outlives_its_program(tmp_path: Path) -> None:
    for first, second in (
        (FileSessionStore(tmp_path / "a"), FileSessionStore(tmp_path / "a")),
        (DatabaseSessionStore(tmp_path / "a.db"), DatabaseSessionStore(str(tmp_path / "a.db"))),
    ):
        async with first:
            session = await first.create(user_id="ann", custom_data={"a": 1})
        async with second:
            found = await second.get(session.session_id)
        assert found == session


async def test_a_store_has_to_be_started(store: SessionStore) -> None:
    with pytest.raises(NotInitialized, match="start"):
        await store.get_session_count()
    await store.stop()


def test_storage_types_in_any_case() -> None:
    assert StorageType.of("DATABASE") is StorageType.DATABASE
    assert StorageType.of(StorageType.FILE) is StorageType.FILE
    assert StorageType.of("own") == "own"


@pytest.mark.parametrize("as_given", [str, Path])
async def test_the_features_of_a_store_are_switched_on_before_it_starts(
    tmp_path: Path, as_given: type[str | Path]
) -> None:
    store = DatabaseSessionStore(as_given(tmp_path / "sessions.db"))
    policy = {"mode": "batch", "interval": 5}
    systems = {create_expiry_manager(store, archive_dir=as_given(tmp_path)), create_session_state_tracker(store)}
    systems.add(create_session_sync(store, policy))
    (system,) = systems
    async with store:
        await store.start()  # idempotent
        features = (await system.get_system_status())["features"]
        assert {name for name, on in features.items() if on} == {"expiry", "sync", "tracking"}
        assert (await system.get_sync_policy()).interval == 5
        for switch_on in (create_expiry_manager, create_session_state_tracker, create_session_sync):
            with pytest.raises(ConfigurationError, match="started already"):
                switch_on(store)

    again = DatabaseSessionStore(tmp_path / "sessions.db")
    kept = create_session_sync(again)
    async with again:
        assert (await kept.get_sync_policy()).interval == 5, "nothing was said: what was kept stays"


async def test_a_store_that_can_not_keep_the_policy_it_is_to_start_with_stays_stopped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def refuse(*_: object) -> None:
        raise StoreUnavailable("just then")

    store = MemorySessionStore()
    system = create_session_sync(store, SyncPolicy())
    monkeypatch.setattr(system, "set_sync_policy", refuse)
    with pytest.raises(StoreUnavailable):
        await store.start()
    assert not system.is_running


async def test_a_store_of_ones_own_has_no_features_to_switch_on() -> None:
    own = create_autospec(SessionStore, instance=True)
    for switch_on in (create_expiry_manager, create_session_state_tracker, create_session_sync):
        with pytest.raises(ConfigurationError, match="use SessionSystem"):
            switch_on(own)
