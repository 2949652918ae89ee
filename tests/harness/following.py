"""Events as those see them who follow: a process's feeds, and readers that note what they are sent."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp

from agentbus.client import AgentBus
from agentbus.contracts.clock import SystemClock
from agentbus.contracts.commands import CreateSession, SetData
from agentbus.contracts.ids import SessionId
from agentbus.contracts.profile import Profile
from agentbus.contracts.topology import Topology
from agentbus.storage.memory import MemoryStore
from agentbus.storage.port import Store
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.bus.port import Bus
from agentbus.workers.concurrency import ended
from agentbus.workers.following.journal import Place
from agentbus.workers.following.live import Live
from agentbus.workers.following.session_feed import Place as SessionPlace
from agentbus.workers.following.telling import Pace, follow_all, follow_session
from agentbus.workers.session.worker import SessionWorker
from tests.harness.conversations import address, message
from tests.harness.patience import PATIENCE

CALM = Pace(beat=10 * PATIENCE, send=10 * PATIENCE)


@dataclass
class Reader:
    """Reads a stream of server-sent events as browsers do."""

    ids: list[str] = field(default_factory=list)
    """Of events, in their order."""
    places: list[str] = field(default_factory=list)
    """What each event's `Last-Event-ID` was."""
    texts: list[str] = field(default_factory=list)
    signs: int = 0
    """Blocks without an event."""
    last: str = ""
    """What is handed back as `Last-Event-ID`."""
    stuck: asyncio.Event | None = None
    """While there is one that is not set, it takes nothing."""
    more: asyncio.Event = field(default_factory=asyncio.Event)
    _left: bytes = b""

    async def say(self, sent: bytes) -> None:
        if self.stuck is not None:
            await self.stuck.wait()
        self.take(sent)

    def take(self, sent: bytes) -> None:
        """Read what was sent."""
        *blocks, self._left = (self._left + sent).split(b"\n\n")
        for block in blocks:
            self._block(block.decode().splitlines())
        self.more.set()

    def _block(self, lines: list[str]) -> None:
        fields = [line.partition(": ") for line in lines if not line.startswith(":")]
        data = [value for name, _, value in fields if name == "data"]
        self.last = next((value for name, _, value in fields if name == "id"), self.last)
        if not data:
            self.signs += 1
            return
        event = json.loads("\n".join(data))
        self.ids.append(event["id"])
        self.places.append(self.last)
        self.texts.append("\n".join(data))

    async def until(self, count: int) -> list[str]:
        """Return the ids of what came, once it is `count` events."""
        async with asyncio.timeout(PATIENCE):
            while len(self.ids) < count:
                self.more.clear()
                await self.more.wait()
        return self.ids

    async def until_signs(self, count: int) -> None:
        """Wait until so many blocks without an event have come."""
        async with asyncio.timeout(PATIENCE):
            while self.signs < count:
                self.more.clear()
                await self.more.wait()


class Following:
    """A session worker, what processes that serve followers have, and what happened."""

    def __init__(self, bus: Bus, store: Store) -> None:
        self.bus = bus
        self.store = store
        self.client = AgentBus(bus)
        self.lives: list[Live] = []
        self._reading: list[asyncio.Task[None]] = []
        self._said = 0

    async def live(self, **given: Any) -> Live:
        """Open what one more process has."""
        live = Live(self.bus, self.store, SystemClock(), secret_keys=("token",))
        for name, value in given.items():
            setattr(live.tail, name, value)
        await live.start()
        self.lives.append(live)
        return live

    async def session(self, chat: str = "lobby", owner: str = "ada") -> SessionId:
        made = CreateSession(address=address(chat), profile=Profile(owner=owner), data={"token": "kept", "step": 1})
        session = (await self.client.send(made)).session_id
        assert session is not None
        return session

    async def say(self, *chats: str, count: int = 1) -> None:
        """Have messages said in chats."""
        for _ in range(count):
            self._said += 1
            text = f"says {self._said}"
            await self.client.publish_many([message(self._said, text, chat=chat) for chat in chats])

    async def settle(self, *sessions: SessionId) -> None:
        """Wait until what was said in sessions is committed."""
        for session in sessions:
            await self.client.send(SetData(session_id=session, values={"said": self._said}))

    async def events(self) -> dict[str, list[str]]:
        """Return the ids of all events, by conversation, in their order."""
        found: dict[str, list[str]] = {}
        for conversation in await self.store.log.conversations(limit=1000):
            commits = await self.store.log.read(conversation, limit=1000)
            found[conversation] = [event.event_id for commit in commits for event in commit.events]
        return found

    async def check(self, reader: Reader) -> None:
        """Wait until a reader has had each event, and check that it had each once and in its order."""
        every = await self.events()
        await reader.until(sum(map(len, every.values())))
        assert by_conversation(reader.ids) == every

    def follow(
        self, live: Live, place: str = "", *, user: str | None = None, pace: Pace = CALM, **given: Any
    ) -> Reader:
        """Follow all events of one process, from now on or from a place."""
        reader = Reader(**given)
        at = Place.read(place) if place else live.tail.end
        assert at is not None
        self._read(follow_all(live.tail, self.store, at, lambda _: True, user, reader.say, pace=pace))
        return reader

    async def follow_one(
        self, live: Live, session: SessionId, place: str = "", *, user: str | None = None, pace: Pace = CALM
    ) -> tuple[Reader, "asyncio.Task[None]"]:
        """Follow one session's events, from its beginning or from a place."""
        reader, feed = Reader(), live.feed(session)
        head = await self.store.heads.get(session)
        assert head is not None
        at = SessionPlace.read(place) if place else await feed.before(head, 1)
        assert at is not None
        task = self._read(follow_session(live, head, at, lambda _: True, user, reader.say, pace=pace))
        return reader, task

    def _read(self, following: Any) -> "asyncio.Task[None]":
        task = asyncio.create_task(following)
        self._reading.append(task)
        return task

    async def kill(self, live: Live) -> None:
        """End what a process has, and those who read from it, in the middle of whatever it is."""
        await ended(self._reading)
        self._reading.clear()
        await live.close()
        self.lives.remove(live)

    async def close(self) -> None:
        for live in list(self.lives):
            await self.kill(live)


def by_conversation(ids: list[str]) -> dict[str, list[str]]:
    """Return the ids of events by their conversation, in their order."""
    found: dict[str, list[str]] = {}
    for one in ids:
        found.setdefault(one.partition(".")[0], []).append(one)
    return found


@dataclass
class Call:
    """A call that is answered by a stream."""

    reader: Reader
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)


@asynccontextmanager
async def called(app: ASGIApp, path: str, query: str = "", **headers: str) -> AsyncIterator[Call]:
    """Make a call as a server does; the block begins with its answer, and its end is that of the connection."""
    call, asked, gone = Call(Reader()), [{"type": "http.request", "body": b"", "more_body": False}], asyncio.Event()

    async def receive() -> Any:
        if asked:
            return asked.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            call.status = message["status"]
            call.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            call.begun.set()
            return
        if call.status == 200:
            await call.reader.say(message["body"])
        call.body += message["body"]
        if not message.get("more_body"):
            call.over.set()

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [
            (b"host", b"127.0.0.1"),
            *((name.replace("_", "-").lower().encode(), value.encode()) for name, value in headers.items()),
        ],
        "client": ("127.0.0.1", 4711),
        "server": ("127.0.0.1", 8090),
    }

    async def answer() -> None:
        await app(scope, receive, send)

    answering = asyncio.create_task(answer())
    try:
        async with asyncio.timeout(PATIENCE):
            await call.begun.wait()
        yield call
    finally:
        gone.set()
        async with asyncio.timeout(PATIENCE):
            await answering


@asynccontextmanager
async def following() -> AsyncIterator[Following]:
    """Open a session worker on a bus and a store in memory."""
    async with MemoryBus(Topology(partitions=4)) as bus, MemoryStore() as store:
        await bus.declare()
        worker, world = SessionWorker(bus, store), Following(bus, store)
        await worker.start()
        try:
            yield world
        finally:
            await world.close()
            await worker.close()
