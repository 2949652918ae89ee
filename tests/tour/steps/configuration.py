"""Configuration, and storage of one's own."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from agentbus.contracts.errors import ConfigurationError
from agentbus.sessions import (
    ConfigManager,
    LimitPolicy,
    SessionSystem,
    SessionSystemConfig,
    StorageType,
    get_development_config,
    get_production_config,
    initialize_sessions,
    register_provider,
    shutdown_sessions,
)
from agentbus.sessions.providers import store_for
from agentbus.storage.port import Store
from tests.tour.registry import shows
from tests.tour.world import World


@shows("register_provider")
async def show_register_provider(world: World) -> None:
    kind, inside = world.place.settings["storage_type"], world.place.settings.get("storage_config", {})
    seen: list[Mapping[str, Any]] = []

    def provider(config: Mapping[str, Any]) -> Store:
        seen.append(config)
        return store_for(kind, inside)

    register_provider("Tour", provider)
    async with world.another(storage_type="tour", storage_config={"colour": "blue"}) as system:
        made = await system.create_session(user_id=world.name())
        assert await system.session_exists(made.session_id)
    assert seen == [{"colour": "blue"}]
    assert await world.manager.session_exists(made.session_id) == world.place.shared


@shows("SessionSystemConfig")
async def show_session_system_config(world: World) -> None:
    config = SessionSystemConfig(**world.place.settings, max_history_per_session=2)
    async with SessionSystem(config) as system:
        made = await system.create_session(user_id=world.name())
        for text in ("one", "two", "three"):
            await system.add_message(made.session_id, None, "assistant", text)
        read = await system.get_session(made.session_id)
        assert read is not None
        assert [message.content for message in read.conversation_history] == ["two", "three"]


@shows("SessionSystemConfig.update")
async def show_update(world: World) -> None:
    config = SessionSystemConfig(**world.place.settings)
    assert config.update({"on_limit": "close_oldest", "max_sessions_per_user": 1}) is config
    with pytest.raises(ConfigurationError, match="colour"):
        config.update({"colour": "blue"})
    async with SessionSystem(config) as system:
        user = world.name()
        first = await system.create_session(user_id=user)
        second = await system.create_session(user_id=user)
        assert [one.session_id for one in await system.get_user_sessions(user)] == [second.session_id]
        assert await system.get_session_state(first.session_id) == "closed"


@shows("SessionSystemConfig.manager_options")
async def show_manager_options(world: World) -> None:
    config = SessionSystemConfig(**world.place.settings, idle_timeout=7.0, on_limit=LimitPolicy.CLOSE_OLDEST)
    assert (config.manager_options.idle_timeout, config.manager_options.on_limit) == (7.0, "close_oldest")


@shows("get_development_config")
async def show_get_development_config(world: World) -> None:
    config = get_development_config()
    assert (config.storage_type, config.cleanup_interval) == (StorageType.MEMORY, 10.0)
    async with SessionSystem(config.update(world.place.settings)) as system:
        assert await system.health_check()


@shows("get_production_config")
async def show_get_production_config(world: World) -> None:
    folder = str(world.place.folder / world.name("backups"))  # which a worker makes backups in
    config = get_production_config({"url": "mongodb://there/agentbus"}, backup_dir=folder)
    assert (config.storage_type, config.backup_dir) == (StorageType.MONGODB, folder)
    assert config.storage_config == {"url": "mongodb://there/agentbus"}
    system = await initialize_sessions(**{**config.__dict__, **world.place.settings, "storage_config": _config(world)})
    try:
        assert system.config.backup_dir == folder
        assert await system.health_check()
    finally:
        await shutdown_sessions()


@shows("ConfigManager")
async def show_config_manager(world: World) -> None:
    environment = {
        "AGENTBUS_SESSIONS_PARTITIONS": str(world.place.settings["partitions"]),
        "AGENTBUS_SESSIONS_STORAGE_TYPE": str(world.place.settings["storage_type"]),
        "AGENTBUS_SESSIONS_STORAGE_CONFIG": json.dumps(_config(world)),
    }
    async with SessionSystem(ConfigManager(environment=environment).load()) as system:
        made = await system.create_session(user_id=world.name())
        assert await system.session_exists(made.session_id)
    assert await world.manager.session_exists(made.session_id) == world.place.shared


@shows("ConfigManager.load")
async def show_load(world: World) -> None:
    file = world.place.folder / "sessions.json"
    file.write_text(json.dumps({**world.place.settings, "idle_timeout": 5, "cleanup_interval": 3}))
    config = ConfigManager(file, environment={"AGENTBUS_SESSIONS_IDLE_TIMEOUT": "9"}).load()
    assert (config.storage_type, config.storage_config) == (
        world.place.settings["storage_type"].lower(),
        _config(world),
    )
    assert (config.idle_timeout, config.cleanup_interval) == (9.0, 3.0)
    with pytest.raises(ConfigurationError, match="IDLE_TIMEOUT"):
        ConfigManager(environment={"AGENTBUS_SESSIONS_IDLE_TIMEOUT": "soon"}).load()


def _config(world: World) -> dict[str, str]:
    return dict(world.place.settings.get("storage_config", {}))
