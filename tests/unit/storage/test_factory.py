"""Opening stores by URL, masking secrets, and registering one's own backend."""

from pathlib import Path

import pytest

from agentbus.contracts.urls import masked
from agentbus.storage import factory
from agentbus.storage.factory import open_store, register_store
from agentbus.storage.files import FileStore
from agentbus.storage.memory import MemoryStore
from agentbus.storage.mongo import MongoStore
from agentbus.storage.port import Store, StoreOptions
from agentbus.storage.redis import RedisStore
from agentbus.storage.sql import SqlStore


def test_scheme_chooses_the_store() -> None:
    assert isinstance(open_store("memory://"), MemoryStore)
    assert isinstance(open_store("file:///absolute/folder"), FileStore)
    assert isinstance(open_store("file://relative/folder"), FileStore)
    assert isinstance(open_store("sqlite:///relative.db"), SqlStore)
    assert isinstance(open_store("MongoDB://host/db"), MongoStore)
    assert isinstance(open_store("mongodb+srv://host/db"), MongoStore)
    for url in ("redis://host", "rediss://host/1", "redis+cluster://host:1,other:2", "rediss+cluster://host"):
        assert isinstance(open_store(url), RedisStore)


async def test_folder_is_where_the_url_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for url in (f"file://{tmp_path}/absolute", "file://relative", "file://with%20space"):
        async with open_store(url) as store:
            monkeypatch.chdir("/")  # What is relative means the folder in which the store was made.
            assert (await store.info()).kind == "files"
        monkeypatch.chdir(tmp_path)

    assert stores_in(tmp_path) == [tmp_path / name for name in ("absolute", "relative", "with space")]


def stores_in(folder: Path) -> list[Path]:
    return sorted(path.parent for path in folder.rglob("store.json"))


def test_own_store_may_be_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(factory, "_factories", dict(factory._factories))
    asked: list[tuple[str, StoreOptions]] = []

    def make(url: str, options: StoreOptions) -> Store:
        asked.append((url, options))
        return MemoryStore()

    register_store("Mine", make)

    assert isinstance(open_store("mine://place", connect_timeout=1.5), MemoryStore)
    assert asked == [("mine://place", StoreOptions(mongo_driver="pymongo", connect_timeout=1.5))]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("mongodb://host:1/db", "mongodb://host:1/db"),
        ("mongodb://ann:pw@host:1/db?x=secret", "mongodb://ann:***@host:1/db"),
        ("mongodb://ann:p@s/s?w@host/db", "mongodb://ann:***@host/db"),
        ("redis://:pw@host", "redis://:***@host"),
        ("mongodb://token@host", "mongodb://:***@host"),
        ("amqp://ann:p/w@host/vhost", "amqp://ann:***@host/vhost"),
        ("ann:pw@host/db", "ann:***@host/db"),
        ("ann:p://w@host/db", "ann:***@host/db"),
    ],
)
def test_secrets_are_masked(url: str, shown: str) -> None:
    assert masked(url) == shown
