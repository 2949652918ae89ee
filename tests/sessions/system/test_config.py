"""Configuration: in code, from files, from the environment."""

import json
import os
from pathlib import Path
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
    shutdown_sessions,
)
from agentbus.sessions.config import archive_url_of, make_config


def test_updating_changes_what_is_named() -> None:
    config = SessionSystemConfig()

    assert config.update({"storage_type": "DATABASE", "idle_timeout": None, "on_limit": "close_oldest"}) is config

    assert config.storage_type is StorageType.DATABASE
    assert (config.idle_timeout, config.on_limit) == (None, LimitPolicy.CLOSE_OLDEST)
    assert config.max_history_per_session == 50


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cleanup_interval", 0),
        ("cleanup_interval", "often"),
        ("cleanup_interval", float("nan")),
        ("partitions", 0),
        ("max_history_per_session", 0),
        ("max_history_per_session", 1001),
        ("idle_timeout", -1),
        ("time_to_live", 0),
        ("max_sessions_per_user", 0),
        ("checkpoint_every", 0),
        ("call_timeout", 0),
        ("on_limit", "explode"),
        ("storage_config", "text"),
        ("enable_cleanup", "perhaps"),
    ],
)
def test_a_wrong_value_is_named_and_changes_nothing(name: str, value: object) -> None:
    config = SessionSystemConfig()
    before = dict(config.__dict__)

    with pytest.raises(ConfigurationError, match=name):
        config.update({"prefix": "other", name: value})
    assert config.__dict__ == before
    with pytest.raises(ConfigurationError, match=name):
        SessionSystem(SessionSystemConfig(**{name: value}))  # type: ignore[arg-type]


def test_an_unknown_setting_is_named() -> None:
    with pytest.raises(ConfigurationError, match="no such setting: colour, size"):
        SessionSystemConfig().update({"size": 1, "colour": 2})


@pytest.mark.parametrize("ending", ["toml", "json"])
def test_a_file_is_read(tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"sessions.{ending}"
    if ending == "toml":
        file.write_text('storage_type = "FILE"\nidle_timeout = 5\n[storage_config]\nstorage_dir = "x"\n')
    else:
        file.write_text(json.dumps({"storage_type": "FILE", "idle_timeout": 5, "storage_config": {"storage_dir": "x"}}))

    config = ConfigManager(file, environment={}).load()

    assert (config.storage_type, config.idle_timeout) == (StorageType.FILE, 5)
    assert config.storage_config == {"storage_dir": "x"}


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("a.toml", "storage_type =", "a.toml is not TOML"),
        ("a.json", "{", "a.json is not JSON"),
        ("a.json", "[1]", "a.json must hold an object"),
        ("a.toml", "colour = 1", "colour in .*a.toml"),
        ("a.toml", 'cleanup_interval = "often"', "cleanup_interval in .*a.toml"),
        ("a.toml", None, "a.toml can't be read: No such file"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, name: str, text: str | None, why: str) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)

    with pytest.raises(ConfigurationError, match=why):
        ConfigManager(tmp_path / name, environment={}).load()


def test_the_environment_goes_before_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('idle_timeout = 5\nprefix = "file"')
    environment = {
        "AGENTBUS_SESSIONS_STORAGE_TYPE": "mongodb",
        "AGENTBUS_SESSIONS_STORAGE_CONFIG": '{"url": "mongodb://localhost/sessions"}',
        "AGENTBUS_SESSIONS_PREFIX": "42",
        "AGENTBUS_SESSIONS_TIME_TO_LIVE": "86400",
        "AGENTBUS_SESSIONS_MAX_SESSIONS_PER_USER": "3",
        "AGENTBUS_SESSIONS_ENABLE_CLEANUP": "false",
        "AGENTBUS_SESSIONS_SECRET_KEYS": '["pin"]',
        "OTHER": "ignored",
    }

    config = ConfigManager(tmp_path / "a.toml", environment=environment).load()

    assert (config.storage_type, config.storage_config["url"]) == (StorageType.MONGODB, "mongodb://localhost/sessions")
    assert (config.prefix, config.time_to_live, config.max_sessions_per_user) == ("42", 86400, 3)
    assert (config.enable_cleanup, config.secret_keys, config.idle_timeout) == (False, ("pin",), 5)
    assert ConfigManager(environment={"AGENTBUS_SESSIONS_IDLE_TIMEOUT": "null"}).load().idle_timeout is None


def test_a_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTBUS_SESSIONS_CLEANUP_INTERVAL", "often")

    with pytest.raises(ConfigurationError, match="AGENTBUS_SESSIONS_CLEANUP_INTERVAL"):
        ConfigManager().load()


def test_ready_made_configurations() -> None:
    development = get_development_config()
    production = get_production_config({"url": "mongodb://x/y"}, backup_dir="b", archive_dir="a")

    assert (development.storage_type, development.enable_cleanup) == (StorageType.MEMORY, True)
    assert (production.storage_type, production.storage_config) == (StorageType.MONGODB, {"url": "mongodb://x/y"})
    assert (production.backup_dir, production.archive_dir) == ("b", "a")


@pytest.mark.parametrize("kind", [str, Path])
async def test_paths_are_texts_or_paths(
    tmp_path: Path, kind: type[str | Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    places = {"archive_dir": kind("~/archive"), "backup_dir": kind(tmp_path / "backups")}
    for storage in (
        {"storage_type": "FILE", "storage_config": {"storage_dir": kind(tmp_path / "files")}},
        {"storage_type": "DATABASE", "storage_config": {"db_path": kind(tmp_path / "a.db")}},
    ):
        async with SessionSystem(make_config(**storage, **places, enable_expiry=True)) as system:
            assert await system.health_check()
            assert (await system.create_session(user_id="ann")).is_active()
    production = get_production_config({"url": "mongodb://x/y"}, **places)
    assert archive_url_of(production) == (tmp_path / "archive").as_uri()
    assert ConfigManager(kind(tmp_path / "a.toml"), environment={}) is not None
    assert archive_url_of(make_config(archive_dir="s3://bucket/folder")) == "s3://bucket/folder"
    assert {"a.db", "files"} <= set(os.listdir(tmp_path))


async def test_a_configuration_is_the_arguments_of_initializing(tmp_path: Path) -> None:
    config = SessionSystemConfig(storage_type="database", storage_config={"db_path": tmp_path / "a.db"})
    for chosen in (config, get_development_config()):
        system = await initialize_sessions(**chosen.__dict__)
        try:
            assert await system.health_check()
        finally:
            await shutdown_sessions()


async def test_the_session_settings_are_those_of_the_configuration() -> None:
    settings: dict[str, Any] = {"max_history_per_session": 2, "idle_timeout": 7, "time_to_live": 60}
    async with SessionSystem(SessionSystemConfig(enable_cleanup=False, **settings)) as system:
        session = await system.create_session("chat", "ann", "web")
        for number in range(4):
            await system.add_message(session.session_id, "ann", "user", str(number))
        found = await system.get_session(session.session_id)
        own = await system.create_session("other", "ann", "web", expires_in=5)

    assert found is not None
    assert [one.content for one in found.conversation_history] == ["2", "3"]
    assert session.expires_at is not None
    assert (session.expires_at - session.created_at).total_seconds() == 60
    assert own.expires_at is not None
    assert (own.expires_at - own.created_at).total_seconds() == 5
