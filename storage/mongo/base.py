"""Connecting to MongoDB: settings, indexes, and the collections that the sections of the store use."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC
from typing import Any, Final, TypeVar

from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.errors import BulkWriteError, DuplicateKeyError

from agentbus.contracts.errors import StoreRejected
from agentbus.contracts.urls import check_credentials, masked
from agentbus.storage.cancelling import taken
from agentbus.storage.connecting import connect_patiently
from agentbus.storage.damage import enough
from agentbus.storage.mongo.driver import Collection, Connection, Document, Update, connect
from agentbus.storage.mongo.errors import DUPLICATE_KEY, rejected, store_errors, url_errors, write_errors
from agentbus.storage.paging import Position
from agentbus.storage.port import StoreInfo, StoreOptions

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

Item = TypeVar("Item")

BY_INPUT: Final = "by_input"
FIRST_CONFLICT: Final = "conflicts.0"
"""A field that heads with open conflicts have."""


def _listing_by(field: str, name: str) -> IndexModel:
    """Return the index that heads of one value of a text field are listed by; those without it take no room there."""
    keys = [(field, ASCENDING), ("listed_at", DESCENDING), ("_id", ASCENDING)]
    return IndexModel(keys, name=name, partialFilterExpression={field: {"$gt": ""}})


def _due_by(fields: list[tuple[str, int]], name: str) -> IndexModel:
    """Return the index of the records that are due, of those alike in some fields; those never due take no room."""
    keys = [*fields, ("due_at", ASCENDING), ("_id.n", ASCENDING)]
    return IndexModel(keys, name=name, partialFilterExpression={"due_at": {"$exists": True}})


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
        _listing_by("profile.owner", "by_owner"),
        _listing_by("profile.agent_id", "by_agent"),
        _listing_by("profile.parent_id", "by_parent"),
        _listing_by("profile.tags", "by_tag"),
        _listing_by("identity", "by_identity"),
        IndexModel(
            [("listed_at", DESCENDING), ("_id", ASCENDING)],
            name="by_conflict",
            partialFilterExpression={FIRST_CONFLICT: {"$exists": True}},
        ),
        IndexModel(
            [("due_at", ASCENDING), ("_id", ASCENDING)],
            name="by_due",
            partialFilterExpression={"due_at": {"$exists": True}},
        ),
    ],
    "parked": [
        IndexModel([("parked_at", DESCENDING), ("_id", ASCENDING)], name="by_time"),
        IndexModel(
            [("conversation_id", ASCENDING), ("parked_at", DESCENDING), ("_id", ASCENDING)], name="by_conversation"
        ),
    ],
    "members": [IndexModel([("expires_at", ASCENDING)], name="by_expiry", expireAfterSeconds=0)],
    "records": [
        IndexModel(
            [("_id.k", ASCENDING), ("group", ASCENDING), ("created_at", DESCENDING), ("_id.n", ASCENDING)],
            name="by_group",
        ),
        _due_by([("_id.k", ASCENDING)], "by_due"),
        _due_by([("_id.k", ASCENDING), ("group", ASCENDING)], "by_group_due"),
    ],
}
"""The indexes of each collection."""


class MongoDatabase:
    """The connection that the sections of a MongoDB store share."""

    def __init__(self, url: str, options: StoreOptions) -> None:
        check_credentials(url)
        self._url = url
        self.target = masked(url)
        self._options = options
        self._connection: Connection | None = None

    async def start(self) -> None:
        if self._connection is None:
            await connect_patiently(
                self._open,
                target=self.target,
                timeout=self._options.connect_timeout,
                hint="is mongod running, and are host and port right?",
            )

    async def _open(self) -> None:
        # Cancelled while it connects, PyMongo would leave sockets open.
        self._connection = await taken(self._connect(), lambda connection: connection.close())

    async def _connect(self) -> Connection:
        with url_errors(self.target):
            connection = connect(self._options.mongo_driver, self._url, self._settings())
        try:
            with self.errors():
                await connection.command("ping")
                for name, indexes in INDEXES.items():
                    await connection.collection(name).create_indexes(indexes)
        except BaseException:
            await connection.close()
            raise
        return connection

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def info(self) -> StoreInfo:
        with self.errors():
            hello = await self.opened().command("hello")
            build = await self.opened().command("buildInfo")
        return StoreInfo(
            kind="mongodb",
            version=build["version"],
            server_time=hello["localTime"].replace(tzinfo=UTC),
            name=self.opened().database,
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
    def errors(self) -> Iterator[None]:
        """Turn the driver's errors into those of the store."""
        with store_errors(self.target):
            yield

    def collection(self, name: str, *, unflushed: bool = False) -> Collection:
        """Return a collection of the database; `unflushed`, what is written by it is not durable when that returns."""
        return self.opened().collection(name, unflushed=unflushed)

    async def change(self, name: str, identity: Document | str, update: Update) -> Document:
        """Change the document of this `_id` in the collection `name`, or insert it, and return it as it is then."""
        with self.errors():
            try:
                return await self._upsert(name, identity, update)
            except DuplicateKeyError:  # Another process inserted it for the first time: now there is one.
                return await self._upsert(name, identity, update)

    async def _upsert(self, name: str, identity: Document | str, update: Update) -> Document:
        changed: Document = await self.collection(name).find_one_and_update(
            {"_id": identity}, update, upsert=True, return_document=True
        )
        return changed

    async def first(
        self,
        name: str,
        query: Document,
        order: Sequence[tuple[str, int]],
        read: Callable[[Document], Item],
        count: int,
        *,
        fields: Document | None = None,
    ) -> list[Item]:
        """Return the first `count` documents, or `fields` of them, that `query` finds and that can be read."""

        async def fetch(asked: int) -> list[Document]:
            # All at once: without a size the first answer has 101 of them, and the rest is a second round trip.
            found = self.collection(name).find(query, fields).sort(order).limit(asked).batch_size(asked)
            documents: list[Document] = await found.to_list(None)
            return documents

        with self.errors():
            return await enough(fetch, read, count)

    async def write_all(self, name: str, writes: Sequence[Any], *, unflushed: bool = False) -> list[int]:
        """Make many writes to a collection (see there) at once; return the places of those refused for a key taken."""
        if not writes:
            return []
        try:
            with self.errors():
                await self.collection(name, unflushed=unflushed).bulk_write(writes, ordered=False)
        except BulkWriteError as error:
            failed = write_errors(self.target, error)
            for one in failed:
                if one["code"] != DUPLICATE_KEY:
                    raise rejected(self.target, one["code"], one.get("errmsg", "")) from error
            return [one["index"] for one in failed]
        return []

    def opened(self) -> Connection:
        """Return the connection. Raises StoreRejected unless the store is open."""
        if self._connection is None:
            raise StoreRejected(f"{self.target} is not open: call start() first")
        return self._connection


class MongoSection:
    """A section of a MongoDB store."""

    def __init__(self, database: MongoDatabase) -> None:
        self._database = database


def later(moment: str, identity: str, after: Position) -> Document:
    """Return what finds the documents after a position in a list: the latest first, then by id."""
    ended, item = after
    # The first condition says nothing more than the others, but lets the server begin there in its index.
    return {moment: {"$lte": ended}, "$or": [{moment: {"$lt": ended}}, {moment: ended, identity: {"$gt": item}}]}


def unless_newer(document: Mapping[str, Any], *, by: str, value: int) -> Update:
    """Return an update that puts `document` in the place of one whose field `by` is not above `value`, or is no number.

    The comparison stands in the update, not in what it looks for: by its `_id` alone MongoDB finds a document without
    planning a query, which would cost it as much as all the rest.
    """
    newer = {"$and": [{"$isNumber": f"${by}"}, {"$gt": [f"${by}", value]}]}
    return [{"$replaceWith": {"$cond": [newer, "$$ROOT", {"$literal": document}]}}]
