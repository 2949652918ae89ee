"""Connecting to MongoDB: settings, indexes, and the collections that the sections of the store use."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC
from typing import Any, Final

from pymongo import ASCENDING, DESCENDING, IndexModel

from contracts.errors import StoreRejected
from storage.connecting import connect_patiently, mask_url
from storage.mongo.driver import Collection, Connection, connect
from storage.mongo.errors import store_errors, url_errors
from storage.options import StoreOptions
from storage.port import Store, StoreInfo

SETTINGS: Final[dict[str, Any]] = {
    "appname": "agentbus",
    "serverSelectionTimeoutMS": 3000,
    "connectTimeoutMS": 3000,
    "socketTimeoutMS": 10_000,
    # Acknowledged means journaled on a majority: it survives a crash of the server.
    "w": "majority",
    "journal": True,
}
"""What the client is told unless the URL says otherwise. Times in milliseconds."""

BY_INPUT: Final = "by_input"

INDEXES: Final = {
    "log": [
        IndexModel(
            [("_id.c", ASCENDING), ("inputs", ASCENDING)],
            name=BY_INPUT,
            unique=True,
            partialFilterExpression={"inputs": {"$exists": True}},
        ),
        IndexModel(
            [("_id.c", ASCENDING), ("targets", ASCENDING)],
            name="by_target",
            partialFilterExpression={"targets": {"$exists": True}},
        ),
    ],
    "heads": [
        IndexModel([("conversation_id", ASCENDING), ("generation", DESCENDING)], name="by_conversation"),
        IndexModel([("listed_at", DESCENDING), ("_id", ASCENDING)], name="by_activity"),
        IndexModel([("address.chat", ASCENDING)], name="by_chat"),
        IndexModel([("address.user", ASCENDING)], name="by_user"),
    ],
    "parked": [
        IndexModel([("parked_at", DESCENDING), ("_id", ASCENDING)], name="by_time"),
        IndexModel(
            [("conversation_id", ASCENDING), ("parked_at", DESCENDING), ("_id", ASCENDING)], name="by_conversation"
        ),
    ],
    "members": [IndexModel([("expires_at", ASCENDING)], name="by_expiry", expireAfterSeconds=0)],
}
"""The indexes of each collection."""


class MongoBase(Store):
    """The connection of a MongoDB store."""

    def __init__(self, url: str, options: StoreOptions) -> None:
        self._url = url
        self._target = mask_url(url)
        self._options = options
        self._connection: Connection | None = None

    async def start(self) -> None:
        if self._connection is None:
            await connect_patiently(
                self._open,
                target=self._target,
                timeout=self._options.connect_timeout,
                hint="is mongod running, and are host and port right?",
            )

    async def _open(self) -> None:
        with url_errors(self._target):
            connection = connect(self._options.mongo_driver, self._url, self._settings())
        try:
            with self._errors():
                await connection.command("ping")
                for name, indexes in INDEXES.items():
                    await connection.collection(name).create_indexes(indexes)
        except BaseException:
            await connection.close()
            raise
        self._connection = connection

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def info(self) -> StoreInfo:
        with self._errors():
            hello = await self._opened().command("hello")
            build = await self._opened().command("buildInfo")
        return StoreInfo(
            kind="mongodb",
            version=build["version"],
            server_time=hello["localTime"].replace(tzinfo=UTC),
        )

    def _settings(self) -> dict[str, Any]:
        options = self._url.partition("?")[2].split("&")
        given = {option.partition("=")[0].lower() for option in options}
        settings = {name: value for name, value in SETTINGS.items() if name.lower() not in given}
        patience = max(100, int(self._options.connect_timeout * 1000))
        if "serverSelectionTimeoutMS" in settings:
            settings["serverSelectionTimeoutMS"] = min(settings["serverSelectionTimeoutMS"], patience)
        return settings | {"tz_aware": True}

    @contextmanager
    def _errors(self) -> Iterator[None]:
        with store_errors(self._target):
            yield

    def _collection(self, name: str) -> Collection:
        return self._opened().collection(name)

    def _opened(self) -> Connection:
        if self._connection is None:
            raise StoreRejected(f"{self._target} is not open: call start() first")
        return self._connection
