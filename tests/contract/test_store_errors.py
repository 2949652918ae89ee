"""What the stores say when their server is away, refuses, or was named wrongly."""

import asyncio
import gc
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, get_args

import pytest
from pymongo import MongoClient
from structlog.testing import capture_logs

from agentbus.contracts.base import MAX_TEXT_LENGTH
from agentbus.contracts.errors import ConfigurationError, StoreDamaged, StoreRejected, StoreUnavailable, VersionConflict
from agentbus.contracts.messages import TextContent
from agentbus.storage.factory import open_store
from agentbus.storage.port import LISTED_BODY, MongoDriver
from agentbus.storage.sql.dialects import dialect_of
from agentbus.storage.sql.errors import store_errors
from tests.harness.builders import a_commit, a_conversation, a_head, a_parked, appended, data_set

HIDDEN = "s3cret"

drivers = pytest.mark.parametrize("driver", get_args(MongoDriver))


@pytest.fixture
def closed_port() -> Iterator[int]:
    """Give a port that nobody listens on: it is bound for the time of the test."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


# PyMongo's async client leaves a socket to the garbage collector when it is closed while its monitor connects.
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
@drivers
async def test_mongo_that_is_not_there(driver: MongoDriver, closed_port: int) -> None:
    url = f"mongodb://ann:{HIDDEN}@127.0.0.1:{closed_port}/db?appName={HIDDEN}"
    store = open_store(url, mongo_driver=driver, connect_timeout=0.5)

    with capture_logs() as logs, pytest.raises(StoreUnavailable, match="is mongod running") as caught:
        await store.start()

    assert f"no answer from mongodb://ann:***@127.0.0.1:{closed_port}/db in 0.5 s" in str(caught.value)
    assert HIDDEN not in str(caught.value)
    assert HIDDEN not in str(logs)
    assert all(entry["event"] == "store_waiting" for entry in logs)
    await store.close()
    gc.collect()


@drivers
async def test_mongo_that_does_not_know_the_user(driver: MongoDriver, mongo_url: str) -> None:
    url = mongo_url.replace("mongodb://", f"mongodb://ann:{HIDDEN}@")
    store = open_store(url, mongo_driver=driver, connect_timeout=30)

    with pytest.raises(StoreRejected, match="check user, password") as caught:
        await store.start()

    assert HIDDEN not in str(caught.value)


@drivers
@pytest.mark.parametrize(
    "url",
    [
        "mongodb://",
        f"mongodb://ann:{HIDDEN}@host:nonsense/db",
        "mongodb://host/db?replicaSet=a&directConnection=perhaps",
        "mongodb://host/db?w=majority&journal=1&readPreference=nearby",
    ],
)
async def test_mongo_url_that_can_not_be_used(driver: MongoDriver, url: str) -> None:
    with pytest.raises(StoreRejected, match="check host, port and options") as caught:
        await open_store(url, mongo_driver=driver, connect_timeout=0.2).start()

    assert HIDDEN not in str(caught.value)
    assert caught.value.__cause__ is None


def test_mongo_url_with_an_unescaped_password_is_told_how_to_write_it() -> None:
    with pytest.raises(
        ConfigurationError, match=r"mongodb://ann:\*\*\*@host/db holds an unescaped '/': write %2F"
    ) as caught:
        open_store(f"mongodb://ann:{HIDDEN}/x@host/db")
    assert HIDDEN not in str(caught.value)


@drivers
async def test_mongo_keeps_the_neighbours_of_a_commit_too_large(driver: MongoDriver, mongo_url: str) -> None:
    large, taken, fine = a_conversation(), a_conversation(), a_conversation()
    event = appended(large, 1, "m")
    content = TextContent(text="€" * MAX_TEXT_LENGTH)
    event = event.model_copy(update={"message": event.message.model_copy(update={"content": content})})

    async with open_store(mongo_url, mongo_driver=driver) as store:
        await store.log.append([a_commit(taken)])
        outcome = await store.log.append([a_commit(large, events=[event] * 24), a_commit(taken), a_commit(fine)])

        assert [type(error) for error in outcome] == [StoreRejected, VersionConflict, type(None)]
        assert "limit" in str(outcome[0])
        assert len(await store.log.read(fine, limit=10)) == 1


@drivers
async def test_mongo_keeps_the_neighbours_of_a_head_too_large(driver: MongoDriver, mongo_url: str) -> None:
    fine, large = a_head(a_conversation()), a_head(a_conversation())
    large = large.model_copy(update={"data": {str(number): "x" * 250_000 for number in range(70)}})

    async with open_store(mongo_url, mongo_driver=driver) as store:
        outcome = await store.heads.save([large, fine])

        assert [type(error) for error in outcome] == [StoreRejected, type(None)]
        assert "limit" in str(outcome[0])
        assert await store.heads.get(fine.session_id) == fine
        assert await store.heads.get(large.session_id) is None


async def test_mongo_does_not_give_a_parked_body_that_is_not_whole(mongo_url: str) -> None:
    parked = a_parked(body=b"x" * (LISTED_BODY + 10))
    client: MongoClient[dict[str, Any]] = MongoClient(mongo_url)

    async with open_store(mongo_url) as store:
        await store.parked.put(parked)
        with client:
            client.get_default_database()["parked_bodies"].delete_many({})

        with pytest.raises(StoreDamaged, match=r"65536 of 65546 bytes are left: restore"):
            await store.parked.get(parked.parked_id)


async def test_mongo_refuses_what_bson_can_not_hold(mongo_url: str) -> None:
    one, two = a_conversation(), a_conversation()
    huge = data_set(one, 1, {"n": 2**70})

    async with open_store(mongo_url) as store:
        outcome = await store.log.append([a_commit(one, events=[huge]), a_commit(two)])

        assert [type(error) for error in outcome] == [StoreRejected, type(None)]
        outcome = await store.heads.save([a_head(one, data={"n": 2**70}), a_head(two)])
        assert [type(error) for error in outcome] == [StoreRejected, type(None)]


async def test_sqlite_in_a_folder_that_is_missing(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/missing/store.db")

    with pytest.raises(StoreRejected, match="check that its folder exists"):
        await store.start()


async def test_sqlite_on_something_else(tmp_path: Path) -> None:
    place = tmp_path / "store.db"
    place.write_text("Dear diary, " * 100)

    with pytest.raises(StoreRejected, match="something else than a SQLite database"):
        await open_store(f"sqlite:///{place}").start()


async def test_sqlite_with_tables_of_another_version(tmp_path: Path) -> None:
    place = tmp_path / "store.db"
    with closing(sqlite3.connect(place)) as other:
        other.execute("PRAGMA user_version = 99")

    for _ in range(2):
        with pytest.raises(StoreRejected, match="has tables of version 99, this release has version"):
            await open_store(f"sqlite:///{place}").start()


async def test_sqlite_where_nobody_may_write() -> None:
    with pytest.raises(StoreRejected, match=r"check that its folder exists and that this user may write"):
        await open_store("sqlite:////proc/store.db").start()


def test_sqlite_whose_disk_is_full(tmp_path: Path) -> None:
    place = tmp_path / "store.db"
    with closing(sqlite3.connect(place)) as connection:
        connection.execute("CREATE TABLE things (body TEXT)")
        connection.execute("PRAGMA max_page_count = 2")  # As large as it may become: the same error.
        with (
            pytest.raises(StoreUnavailable, match="is full: make room on its disk"),
            store_errors(dialect_of(f"sqlite:///{place}")),
        ):
            connection.execute("INSERT INTO things VALUES (?)", ("x" * 100_000,))


async def test_sqlite_that_may_only_be_read(tmp_path: Path) -> None:
    place = tmp_path / "store.db"
    async with open_store(f"sqlite:///{place}"):
        pass

    with pytest.raises(StoreRejected, match="the right to write"):
        await open_store(f"sqlite:///file:{place}?mode=ro&uri=true").start()


async def test_sqlite_locked_by_another_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentbus.storage.sql.dialects.sqlite.PRAGMAS", ("PRAGMA busy_timeout = 50",))
    one = a_conversation()
    async with open_store(f"sqlite:///{tmp_path}/store.db") as store:
        other = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")

        with pytest.raises(StoreUnavailable, match="locked"):
            await store.log.append([a_commit(one)])
        other.execute("ROLLBACK")
        other.close()

        assert await store.log.append([a_commit(one)]) == [None]


async def test_sqlite_locked_by_another_program_is_not_waited_for_by_one_call_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentbus.storage.sql.dialects.sqlite.PRAGMAS", ("PRAGMA busy_timeout = 200",))
    monkeypatch.setattr("agentbus.storage.sql.dialects.sqlite.TURN_TIMEOUT", 0.1)
    async with open_store(f"sqlite:///{tmp_path}/store.db") as store:
        with closing(sqlite3.connect(tmp_path / "store.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            calls = [store.log.append([a_commit(a_conversation())]) for _ in range(5)]
            answers = await asyncio.gather(*calls, return_exceptions=True)

        assert {type(answer) for answer in answers} == {StoreUnavailable}
        assert any("those who write before this one" in str(answer) for answer in answers)
        assert await store.log.append([a_commit(a_conversation())]) == [None]


async def test_sqlite_that_stays_locked_is_not_waited_for_forever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agentbus.storage.sql.dialects.sqlite.PRAGMAS", ("PRAGMA busy_timeout = 10",))
    other = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")

    with pytest.raises(StoreUnavailable, match=r"no answer from SQLite file .* in 0.3 s"):
        await open_store(f"sqlite:///{tmp_path}/store.db", connect_timeout=0.3).start()

    other.close()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("redis://:s3cret@host/first", r"redis://:\*\*\*@host/first can't be used: the database is a number from 0 to"),
        ("redis://ann:s3cret@host,other/0", r"several servers are a cluster's: redis\+cluster://"),
        ("redis+cluster://ann:s3cret@host/1", "a cluster has database 0 alone: tell stores apart by their prefix"),
        ("rediss://ann:s3cret@host/0?password=s3cret", "it has an option that is none of durability, prefix, shards"),
        ("redis://host/0?prefix={s3cret}", "the prefix is 1 to 100 characters"),
        ("redis://host?durability=s3cret", "durability is one of require, warn"),
        ("redis://host?shards=0", "shards is a number from 1 to 1024"),
        ("redis://host?ssl_ca_certs=s3cret", "ssl_ca_certs is for encrypted connections: rediss://"),
        ("rediss://host?ssl_cert_reqs=s3cret", "ssl_cert_reqs is required or none"),
        ("rediss://host?ssl_check_hostname=s3cret", "ssl_check_hostname is true or false"),
        ("redis://:s3cret@", "it names no host"),
        ("redis://ann:s3cret@[host/0", "its host can't be read"),
        ("redis://host:first/0", "a port is a number from 1 to 65535"),
        ("mysql://ann:s3cret@host", "has to name a host and a database"),
        ("mariadb:///db", "has to name a host and a database"),
        ("mysql://ann:s3cret@host/db?connect_timeout=s3cret", "options of mysql://ann:\\*\\*\\*@host/db can't be used"),
        ("mysql://ann:s3cret/1@host/db", "unescaped '/'"),
        ("postgresql://ann:s3cret@host", "has to name a host and a database"),
        ("postgres://ann:s3cret@host:port/db", "can't be read: it is like postgres://user:password@host:port/database"),
        ("file://", "is like file:///absolute/folder"),
        ("file:///store?option=1", "is like file:///absolute/folder"),
        ("file:///store%00", "is like file:///absolute/folder"),
        ("oracle://ann:s3cret@host", r"no store is known for oracle://ann:\*\*\*@host: schemes are file://"),
        ("nonsense", "schemes are file://"),
        ("", "schemes are file://"),
        ("sqlite://", "needs a file"),
        ("sqlite:///:memory:", "needs a file"),
        ("sqlite://store.db", "names a host"),
    ],
)
def test_urls_that_name_no_store(url: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message) as caught:
        open_store(url)

    assert HIDDEN not in str(caught.value)
