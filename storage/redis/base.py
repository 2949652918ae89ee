"""Connecting to Redis, and running the scripts of the sections of the store."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

from redis.exceptions import NoScriptError, ReadOnlyError

from agentbus.contracts.errors import StoreRejected, StoreUnavailable
from agentbus.contracts.telemetry import Action
from agentbus.storage.cancelling import taken
from agentbus.storage.connecting import connect_patiently
from agentbus.storage.log_lines import Logger
from agentbus.storage.paging import from_milliseconds
from agentbus.storage.port import StoreInfo, StoreOptions
from agentbus.storage.redis.address import Durability, address_of
from agentbus.storage.redis.client import ANSWER_SECONDS, CONNECTIONS, Client, client_for
from agentbus.storage.redis.durability import risks_of, told_by
from agentbus.storage.redis.errors import OF_CLUSTER, SOON, store_errors
from agentbus.storage.redis.layout import LAYOUT_VERSION, Layout, layout_key, list_of
from agentbus.storage.redis.scripts import script

HINT: Final = "is Redis running, and are host and port right?"

LARGEST: Final = 64 * 1024 * 1024
"""Bytes of the largest commit, head or record. Redis takes 512 MB by default; while it takes one, all others wait."""

BATCH_BYTES: Final = 2 * 1024 * 1024
"""About how many bytes a script is given to write at once, unless one alone has more."""

BATCH: Final = 200
"""How many things a script is given at once."""

_PAUSES: Final = (0.05, 0.1, 0.2, None)
"""Seconds to wait at most before asking again; after the last time, not again."""

_log = Logger(__name__)

Item = TypeVar("Item")


class RedisDatabase:
    """The connections that the sections of a Redis store share."""

    def __init__(self, url: str, options: StoreOptions) -> None:
        self.address = address_of(url)
        self.target = self.address.target
        self.layout = Layout(self.address.prefix, self.address.shards)
        self._options = options
        self._client: Client | None = None
        self._turns = asyncio.Semaphore(CONNECTIONS)

    async def start(self) -> None:
        if self._client is None:
            await connect_patiently(self._open, target=self.target, timeout=self._options.connect_timeout, hint=HINT)

    async def _open(self) -> None:
        # Cancelled while it connects, redis-py would leave sockets open.
        self._client = await taken(self._prepared(), lambda client: client.close())

    async def _prepared(self) -> Client:
        """Return a client of a server that keeps what it is given, and find out how the store is laid out there."""
        self._turns = asyncio.Semaphore(CONNECTIONS)
        client = client_for(self.address)
        try:
            async with self._asking():
                risks = await risks_of(client)
                clusters = told_by(await client.ask_all("INFO", "cluster"))
            self._check(risks)
            if not self.address.cluster and any(one.get("cluster_enabled") == "1" for one in clusters):
                raise StoreRejected(f"{self.target} is {OF_CLUSTER}")
            new = (LAYOUT_VERSION, self.address.shards)
            version, shards = await self._run(client, "lay_out", [layout_key(self.address.prefix)], new)
            if version.decode() != LAYOUT_VERSION:
                raise StoreRejected(
                    f"{self.target} is laid out as version {version.decode()}, this release knows {LAYOUT_VERSION}"
                )
            self.layout = Layout(self.address.prefix, int(shards))
        except BaseException:
            await client.close()
            raise
        return client

    def _check(self, risks: Sequence[str]) -> None:
        if not risks:
            return
        if self.address.durability is Durability.REQUIRE:
            raise StoreRejected(
                f"{self.target} may lose what is kept there: {'; '.join(risks)} "
                "(or use it as it is, with ?durability=warn in the URL)"
            )
        _log.warning(Action.STORE_NOT_DURABLE, url=self.target, reason="; ".join(risks))

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def info(self) -> StoreInfo:
        client = self.opened()
        now = int(await self.run("now", self.layout.keys(0, "now")))
        async with self._asking():
            [told, *_] = told_by(await client.ask_all("INFO", "server")) or [{}]
            risks = await risks_of(client)
        kind = told.get("server_name", "redis")
        return StoreInfo(
            kind=kind,
            version=told.get(f"{kind}_version") or told.get("redis_version", "unknown"),
            server_time=from_milliseconds(now),
            name=self.address.name,
            risks=tuple(risks),
        )

    async def run(self, name: str, keys: Sequence[str], *arguments: Any) -> Any:
        """Run a script where its keys are, which are all in one shard, and return what it returns."""
        return await self._run(self.opened(), name, keys, arguments)

    def names_beside(self, name: str) -> str:
        """Return the key of the names in the shard of one of them."""
        return self.layout.key(self.layout.shard_of(name), "names")

    async def all_names(self, what: str, *, after: str = "", limit: int = -1) -> list[str]:
        """Return the names of all locks or groups, in order; the first `limit` after a name, if that is given."""
        begin = list_of(what)
        bounds = (f"({begin}{after}" if after else f"[{begin}", f"[{begin}".encode() + b"\xff", "LIMIT", 0, limit)
        shards = (self.layout.key(shard, "names") for shard in range(self.layout.shards))
        parts = await together(self.ask("ZRANGEBYLEX", key, *bounds) for key in shards)
        found = sorted(place.decode().removeprefix(begin) for part in parts for place in part)
        return found[:limit] if limit >= 0 else found

    async def ask(self, *command: Any) -> Any:
        """Send a command and return its answer."""
        client = self.opened()
        async with self._asking():
            return await _asked(client, command)

    async def ask_all(self, *command: Any) -> list[Any]:
        """Send a command that has no keys to all servers that take writes, and return their answers."""
        client = self.opened()
        async with self._asking():
            return await client.ask_all(*command)

    async def _run(self, client: Client, name: str, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        given = (len(keys), *keys, *arguments)
        running = script(name)
        async with self._asking():
            try:
                return await _asked(client, ("EVALSHA", running.digest, *given))
            except NoScriptError:  # A server that was restarted, or another one since a failover.
                return await _asked(client, ("EVAL", running.text, *given))

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[None]:
        """Wait for a turn; redis-py's errors are the store's."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self._turns.acquire()
        except TimeoutError:
            raise StoreUnavailable(
                f"{self.target} does not answer: those who asked before have no answer after {ANSWER_SECONDS:g} s"
            ) from None
        try:
            with store_errors(self.target):
                yield
        finally:
            self._turns.release()

    def opened(self) -> Client:
        """Return the client. Raises StoreRejected unless the store is open."""
        if self._client is None:
            raise StoreRejected(f"{self.target} is not open: call start() first")
        return self._client


class RedisSection:
    """A section of a Redis store."""

    def __init__(self, database: RedisDatabase) -> None:
        self._database = database


async def _asked(client: Client, command: Sequence[Any]) -> Any:
    """Ask, and ask again while a server says that it did nothing, and another one may be the right one in a moment."""
    for pause in _PAUSES:
        try:
            return await client.ask(*command)
        except SOON as error:
            if pause is None:
                raise
            if isinstance(error, ReadOnlyError):
                await client.let_go()
            await asyncio.sleep(random.uniform(pause / 2, pause))
    raise AssertionError("unreachable")


async def together(calls: Iterable[Coroutine[Any, Any, Item]]) -> list[Item]:
    """Make calls of several shards at once, all to their ends; return their answers, or raise the first error."""
    begun = list(calls)
    if len(begun) == 1:
        return [await begun[0]]
    found: list[Item] = []
    for answer in await asyncio.gather(*begun, return_exceptions=True):
        if isinstance(answer, BaseException):
            raise answer
        found.append(answer)
    return found


def batches(items: Sequence[Item], size_of: Callable[[Item], int]) -> Iterator[Sequence[Item]]:
    """Yield `items` in order, in batches that a script is given at once."""
    start = size = 0
    for end, item in enumerate(items):
        if end > start and (end - start >= BATCH or size + size_of(item) > BATCH_BYTES):
            yield items[start:end]
            start, size = end, 0
        size += size_of(item)
    if start < len(items):
        yield items[start:]


def too_large(target: str, what: str, size: int) -> StoreRejected | None:
    """Return why the store does not keep so many bytes as one, if they are too many."""
    if size <= LARGEST:
        return None
    return StoreRejected(f"{target}: a {what} of {size} bytes, the limit is {LARGEST}")
