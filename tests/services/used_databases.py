"""MongoDB databases that one test uses after the other: emptied, with the indexes that the store of the first made.

The 25 files of a store's collections and indexes take the server 0.1 s of a processor to make, and 0.01 s to empty.
"""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from uuid import uuid4

from pymongo import MongoClient
from pymongo.database import Database

from agentbus.storage.mongo.base import INDEXES
from tests.services.mongodb import MongoDB

Document = dict[str, Any]

_OF_IDS: Final[Document] = {"name": "_id_", "key": {"_id": 1}}


class UsedDatabases:
    """The databases of one server that tests have used. As a context manager, it drops them at its end."""

    def __init__(self, server: MongoDB) -> None:
        self._server = server
        self._free: defaultdict[str, list[str]] = defaultdict(list)

    @contextmanager
    def one(self, users: str) -> Iterator[str]:
        """Give the URL of an empty database; a server left dead or paused is revived.

        It is new, or was used by tests of the same `users` before and is still as a store makes it. What some may
        write late, such as those that cut calls off, the others never see.
        """
        name = self._ready(self._free[users])
        try:
            yield self._server.database_url(name)
        finally:
            self._free[users].append(name)

    def close(self) -> None:
        """Drop them all."""
        names = [name for free in self._free.values() for name in free]
        if names:
            with MongoClient[Document](self._server.start().url) as client:
                for name in names:
                    client.drop_database(name)

    def _ready(self, free: list[str]) -> str:
        self._server.start()
        if free:
            name = free.pop()
            with MongoClient[Document](self._server.url) as client:
                if made_by_a_store(client[name]):
                    empty(client[name])
                    return name
                client.drop_database(name)
        return f"agentbus_test_{uuid4().hex[:12]}"


def made_by_a_store(database: Database[Document]) -> bool:
    """Whether there are the indexes that a store makes, and none else, and every collection is a plain one."""
    plain = {one["name"]: not one["options"] for one in database.list_collections()}
    return all(plain.values()) and all(
        _indexes(database, name) == [_OF_IDS, *(index.document for index in INDEXES.get(name, []))]
        for name in plain.keys() | INDEXES.keys()
    )


def _indexes(database: Database[Document], name: str) -> list[Document]:
    return [{key: value for key, value in one.items() if key != "v"} for one in database[name].list_indexes()]


def empty(database: Database[Document]) -> None:
    """Delete all documents."""
    for name in database.list_collection_names():
        database[name].delete_many({})
