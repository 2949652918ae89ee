"""The store: its sections, and how it is opened."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal, Self

from agentbus.storage.cancelling import finished
from agentbus.storage.port.heads import Heads
from agentbus.storage.port.locks import Locks
from agentbus.storage.port.log import Log
from agentbus.storage.port.members import Members
from agentbus.storage.port.parked import ParkedInputs
from agentbus.storage.port.records import Records

MAX_PAGE = 1000
"""The most items a page may ask for."""

MongoDriver = Literal["motor", "pymongo"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreOptions:
    """Settings of a store; each uses those that concern it."""

    mongo_driver: MongoDriver = "pymongo"
    """Which client reaches MongoDB: PyMongo's own async client, or motor, which it succeeds."""

    connect_timeout: float = 30.0
    """Seconds that `start` waits for a server that is not there yet."""


@dataclass(frozen=True, slots=True)
class StoreInfo:
    """What a store says of itself."""

    kind: str
    version: str
    server_time: datetime
    name: str = ""
    """Of the database; empty for a store without one."""
    risks: tuple[str, ...] = ()
    """By what the server may lose what it reported as done, each with what to do about it."""


class Reach(StrEnum):
    """Who may use a store at the same time."""

    PROCESS = "one process"
    """The one that made it: to another one, it is another store."""
    MACHINE = "the processes of one machine"
    """They go by its clock."""
    NETWORK = "processes on any machine"
    """They go by the server's clock."""


class Together(StrEnum):
    """What happens as one when several commits are appended in one call."""

    COMMIT = "each commit"
    """As the port promises; a crash in between leaves some of them."""
    BATCH = "the batch"
    """A transaction; where one of them is refused, each by itself."""


class Lists(StrEnum):
    """How sessions are listed."""

    INDEXES = "by indexes"
    """A page costs the same however many there are."""
    MEMORY = "from memory"
    """All heads are kept in the memory of each process that lists."""


class Deleted(StrEnum):
    """What becomes of the bytes of what is deleted or erased."""

    GONE = "are gone at once"
    """When the call returns, no file of the store has them; the disk below may."""
    SERVER = "are the server's to overwrite"
    """In its own time; its logs and backups keep them for as long as they are kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a store is like beyond what all of them promise. A store that does not say is taken for the least."""

    reach: Reach = Reach.PROCESS
    is_durable: bool = False
    """Whether what was kept survives kill -9 of all processes that use it, and of its server."""
    together: Together = Together.COMMIT
    largest_commit: str = "as memory allows"
    """About how large a commit or a head may be, in words."""
    lists: Lists = Lists.MEMORY
    deleted: Deleted = Deleted.SERVER

    @property
    def is_shared(self) -> bool:
        """Whether several processes may use it at the same time."""
        return self.reach is not Reach.PROCESS


class Store(ABC):
    """Keeps conversations. Opened by `agentbus.storage.factory.open_store(url)`; used as an async context manager.

    What it keeps is in six sections; they are there before `start`, and answer after it. Every call, those of the
    sections too, may raise StoreUnavailable (transient: the same call may be made again) or StoreRejected. What asks
    for one thing that can't be read raises StoreDamaged; lists, and what looks through many, pass over what is damaged
    and say so in the log, once. A call that is cancelled ends soon and leaves nothing behind; it may have been done,
    as after StoreUnavailable.
    Whatever a call reports as done survives a crash of the process, and of the server as far as the server promises.
    Any number of processes may use the same store.
    """

    log: Log
    heads: Heads
    parked: ParkedInputs
    members: Members
    records: Records
    locks: Locks

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await finished(self.close())  # Nobody else will: the body is not entered.
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def capabilities(self) -> Capabilities:
        """What it is like; known before `start`."""
        return Capabilities()

    @abstractmethod
    async def start(self) -> None:
        """Connect, and make what the store needs (tables, indexes). Idempotent."""

    @abstractmethod
    async def close(self) -> None:
        """Let go of connections. Idempotent."""

    @abstractmethod
    async def info(self) -> StoreInfo:
        """Ask the server who it is and what time it has."""
