"""The two clients for MongoDB, cut down to what both do alike. The only place that knows which one it is.

motor reached its end of life in May 2026; PyMongo's AsyncMongoClient is its successor. Cursors of `find` have the same
calls in both; in PyMongo `aggregate` and `close` are awaited.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol, Self

from bson.codec_options import CodecOptions, DatetimeConversion
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import AsyncMongoClient, WriteConcern
from pymongo.errors import WriteConcernError
from pymongo.read_preferences import ReadPreference

from agentbus.storage.port import MongoDriver

Document = dict[str, Any]
Filter = Mapping[str, Any]
Update = Mapping[str, Any] | Sequence[Mapping[str, Any]]
Sorting = Sequence[tuple[str, int]]

DEFAULT_DATABASE = "agentbus"

READING: Final[CodecOptions[Document]] = CodecOptions(
    tz_aware=True,
    # What is no date or no text is left to whoever reads the document: the driver would fail all those read with it.
    datetime_conversion=DatetimeConversion.DATETIME_AUTO,
    unicode_decode_error_handler="surrogateescape",
)


_UNFLUSHED: Final = WriteConcern(w=1, j=False)
"""The primary has it in memory: all read it there, and neither the journal nor another member is waited for."""

_NOTHING: Final = {"q": {"_id": ""}, "u": {"$set": {"none": 0}}}
"""An update, as the server's command has it, that finds nothing."""


class Cursor(Protocol):
    """What a query will find."""

    def sort(self, key_or_list: Sorting) -> Self: ...
    def limit(self, limit: int) -> Self: ...
    def batch_size(self, batch_size: int) -> Self: ...
    async def to_list(self, length: int | None = None) -> list[Document]: ...


class UpdateResult(Protocol):
    """What an update did."""

    @property
    def matched_count(self) -> int: ...


class DeleteResult(Protocol):
    """What a deletion did."""

    @property
    def deleted_count(self) -> int: ...


class Collection(Protocol):
    """The calls on a collection that both clients have."""

    def find(self, where: Filter, projection: Filter | None = None, /) -> Cursor: ...
    async def find_one(self, where: Filter, /) -> Document | None: ...
    async def insert_one(self, document: Mapping[str, Any]) -> Any: ...
    async def insert_many(self, documents: Sequence[Any], ordered: bool = True) -> Any: ...
    async def update_one(self, where: Filter, update: Update, /, upsert: bool = False) -> UpdateResult: ...
    async def find_one_and_update(
        self, where: Filter, update: Update, /, *, upsert: bool = False, return_document: bool
    ) -> Any: ...
    async def replace_one(self, where: Filter, document: Mapping[str, Any], /, *, upsert: bool) -> Any: ...
    async def delete_one(self, where: Filter, /) -> DeleteResult: ...
    async def delete_many(self, where: Filter, /) -> DeleteResult: ...
    async def bulk_write(self, requests: Sequence[Any], ordered: bool = True) -> Any: ...
    async def create_indexes(self, indexes: Sequence[Any]) -> list[str]: ...


class Connection(ABC):
    """A client and its database. Made inside the event loop that uses it."""

    _client: Any

    def __init__(self) -> None:
        self._database = self._client.get_default_database(default=DEFAULT_DATABASE, codec_options=READING)
        self._collections: dict[tuple[str, bool], Any] = {}

    def collection(self, name: str, *, unflushed: bool = False) -> Collection:
        """Return a collection of the database; `unflushed`, what is written by it is not durable when that returns."""
        if (name, unflushed) not in self._collections:
            options = {"write_concern": _UNFLUSHED} if unflushed else {}
            self._collections[name, unflushed] = self._database.get_collection(name, **options)
        collection: Collection = self._collections[name, unflushed]
        return collection

    @property
    def reads_unflushed(self) -> bool:
        """Whether what is read is the primary's latest: the URL may ask for other members, or for what is durable."""
        from_primary = self._database.read_preference == ReadPreference.PRIMARY
        return from_primary and self._database.read_concern.level in (None, "local")

    async def settle(self, name: str) -> None:
        """Return once all that the server wrote before is durable.

        So is acknowledged any write that asks for it, and be it one that finds nothing in the collection `name`.
        """
        concern = self._database.write_concern.document
        command = {"update": name, "updates": [_NOTHING], "writeConcern": concern}
        answer: Document = await self._database.command(command)
        if failed := answer.get("writeConcernError"):
            raise WriteConcernError(failed.get("errmsg", "write concern not met"), failed.get("code"), failed)

    @property
    def database(self) -> str:
        """The database's name."""
        return str(self._database.name)

    async def command(self, name: str) -> Document:
        """Run a command that takes no arguments."""
        answer: Document = await self._database.command(name)
        return answer

    @abstractmethod
    async def aggregate(self, name: str, pipeline: Sequence[Filter]) -> list[Document]:
        """Run an aggregation on the collection `name` and return all it gives."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of the connections."""


class MotorConnection(Connection):
    """Through motor."""

    def __init__(self, url: str, settings: Mapping[str, Any]) -> None:
        self._client = AsyncIOMotorClient(url, **settings)
        super().__init__()

    async def aggregate(self, name: str, pipeline: Sequence[Filter]) -> list[Document]:
        found: list[Document] = await self._database[name].aggregate(pipeline).to_list(None)
        return found

    async def close(self) -> None:
        self._client.close()


class PyMongoConnection(Connection):
    """Through PyMongo's own async client."""

    def __init__(self, url: str, settings: Mapping[str, Any]) -> None:
        self._client = AsyncMongoClient(url, **settings)
        super().__init__()

    async def aggregate(self, name: str, pipeline: Sequence[Filter]) -> list[Document]:
        cursor = await self._database[name].aggregate(pipeline)
        found: list[Document] = await cursor.to_list(None)
        return found

    async def close(self) -> None:
        await self._client.close()


def connect(driver: MongoDriver, url: str, settings: Mapping[str, Any]) -> Connection:
    """Return a connection through the client chosen; it reaches for the server with the first call."""
    kind = MotorConnection if driver == "motor" else PyMongoConnection
    return kind(url, settings)
