"""A database is used again by tests of one kind, empty, while it is as a store makes it."""

from collections.abc import Callable
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.database import Database

from agentbus.storage.factory import open_store
from tests.harness.builders import a_commit, a_conversation, a_parked
from tests.services import MongoDB
from tests.services.used_databases import UsedDatabases

Client = MongoClient[dict[str, Any]]


async def use(url: str) -> None:
    async with open_store(url) as store:
        await store.log.append([a_commit(a_conversation())])
        await store.parked.put(a_parked())
        await store.locks.acquire("one", ttl=60)


async def test_a_database_is_used_again_emptied_with_its_indexes(mongodb: MongoDB) -> None:
    databases = UsedDatabases(mongodb)
    with databases.one("some") as first:
        await use(first)
    with databases.one("some") as second, Client(second) as client:
        assert second == first
        database = client.get_default_database()
        counts = {name: database[name].count_documents({}) for name in database.list_collection_names()}
        assert {"log", "heads", "parked", "locks"} <= counts.keys()
        assert set(counts.values()) == {0}
        assert "by_input" in database["log"].index_information()
        name = database.name
    databases.close()
    with Client(mongodb.url) as client:
        assert name not in client.list_database_names()


async def test_one_in_use_and_those_of_others_are_not_given(mongodb: MongoDB) -> None:
    databases = UsedDatabases(mongodb)
    with databases.one("some") as first, databases.one("some") as second:
        await use(first)
        with databases.one("others") as third:
            await use(third)
        with databases.one("some") as fourth:
            pass
    assert len({first, second, third, fourth}) == 4
    databases.close()


def _another_index(database: Database[dict[str, Any]]) -> None:
    database["log"].create_index("other")


def _an_index_less(database: Database[dict[str, Any]]) -> None:
    database["log"].drop_index("by_input")


def _a_collection_of_another_kind(database: Database[dict[str, Any]]) -> None:
    database.create_collection("notes", capped=True, size=4096)


def _an_index_of_a_collection_that_has_none(database: Database[dict[str, Any]]) -> None:
    database["locks"].create_index("other")


@pytest.mark.parametrize(
    "change",
    [_another_index, _an_index_less, _a_collection_of_another_kind, _an_index_of_a_collection_that_has_none],
)
async def test_one_that_is_not_as_a_store_makes_it_is_not_given_again(
    mongodb: MongoDB, change: Callable[[Database[dict[str, Any]]], None]
) -> None:
    databases = UsedDatabases(mongodb)
    with databases.one("some") as first, Client(first) as client:
        await use(first)
        change(client.get_default_database())
        name = client.get_default_database().name
    with databases.one("some") as second, Client(mongodb.url) as client:
        assert second != first
        assert name not in client.list_database_names()
    databases.close()
