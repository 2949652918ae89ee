"""Events that somebody refuses: commits go on, and what was not announced is announced later, in order."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from agentbus.client import AgentBus
from agentbus.composition.running import embedded
from agentbus.contracts.address import Scope, conversation_id_for
from agentbus.contracts.envelope import EventEnvelope
from agentbus.contracts.errors import BrokerBlocked, BusError, PublishUnconfirmed, StoreDamaged
from agentbus.contracts.events import Commit, MessageAppended
from agentbus.contracts.ids import ConversationId
from agentbus.contracts.messages import TextContent
from agentbus.contracts.records import Record, RecordKind
from agentbus.contracts.topology import Topology
from agentbus.sessions import SessionSystem, SessionSystemConfig, StorageType
from agentbus.settings import load_settings
from agentbus.storage.factory import open_store
from agentbus.storage.memory import MemoryStore
from agentbus.storage.memory.log import MemoryLog
from agentbus.storage.memory.records import MemoryRecords
from agentbus.storage.reading import iter_records
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.bus.port import Delivery, Message
from agentbus.workers.session import announcer, arrears
from agentbus.workers.session.config import SessionWorkerConfig
from agentbus.workers.session.worker import SessionWorker
from tests.harness.conversations import NOW, address, message
from tests.harness.patience import PATIENCE


class Bus(MemoryBus):
    """A bus whose broker refuses the events of some users, as with a full queue of a subscriber."""

    def __init__(self, topology: Topology) -> None:
        super().__init__(topology)
        self.refuses: Callable[[EventEnvelope], BusError | None] = lambda _: None
        self.refused = 0
        self.hangs = False
        self.hanging = asyncio.Event()

    async def publish_many(
        self, exchange: str, messages: Sequence[tuple[str, Message]], *, mandatory: bool = True
    ) -> list[BusError | None]:
        if exchange != self.topology.events:
            return await super().publish_many(exchange, messages, mandatory=mandatory)
        if self.hangs:
            self.hanging.set()
            await asyncio.Event().wait()
        outcomes: list[BusError | None] = []
        for one in messages:
            error = self.refuses(EventEnvelope.from_bytes(one[1].body))
            self.refused += bool(error)
            outcomes += [error] if error else await super().publish_many(exchange, [one], mandatory=mandatory)
        return outcomes


class Store(MemoryStore):
    """A store that counts what is marked."""

    def __init__(self) -> None:
        super().__init__()
        self.marked = 0
        self.damaged: ConversationId | None = None
        self.log = _DamagedLog(self)
        self.records = _CountedRecords(self)

    async def marks(self) -> list[Record]:
        return [one async for one in iter_records(self, RecordKind.UNANNOUNCED, arrears.GROUP)]

    async def until_settled(self) -> None:
        async with asyncio.timeout(PATIENCE):
            while await self.marks():
                await asyncio.sleep(0.01)


class _DamagedLog(MemoryLog):
    def __init__(self, store: Store) -> None:
        super().__init__(store.heads)
        self._store = store

    async def read(
        self,
        conversation: ConversationId,
        *,
        first: int = 1,
        last: int | None = None,
        limit: int,
        newest: bool = False,
    ) -> list[Commit]:
        if conversation == self._store.damaged:
            raise StoreDamaged("a commit of ada's")
        return await super().read(conversation, first=first, last=last, limit=limit, newest=newest)


class _CountedRecords(MemoryRecords):
    def __init__(self, store: Store) -> None:
        super().__init__()
        self._store = store

    async def put_many(self, records: Sequence[Record]) -> None:
        self._store.marked += len(records)
        await super().put_many(records)


class Ear:
    """Hears the texts of announced messages, by user, repeats left out."""

    def __init__(self) -> None:
        self.events: list[EventEnvelope] = []

    def hear(self, delivery: Delivery) -> None:
        self.events.append(EventEnvelope.from_bytes(delivery.body))

    def texts(self, user: str) -> list[str]:
        found = {event.id: event.data for event in self.events if event.partitionkey == conversation(user)}
        return [
            event.message.content.text
            for event in found.values()
            if isinstance(event, MessageAppended) and isinstance(event.message.content, TextContent)
        ]

    async def until(self, user: str, *texts: str) -> None:
        async with asyncio.timeout(PATIENCE):
            while len(self.texts(user)) < len(texts):
                await asyncio.sleep(0.005)
        assert self.texts(user) == list(texts)
        sequences = [event.sequence for event in self.events if event.partitionkey == conversation(user)]
        first = list(dict.fromkeys(sequences))
        assert all(one < other for one, other in pairwise(first)), "first heard out of order"


def conversation(user: str) -> ConversationId:
    return conversation_id_for(address(user=user), Scope.PER_CHAT_USER)


def refusing(user: str) -> Callable[[EventEnvelope], BusError | None]:
    return lambda event: PublishUnconfirmed() if event.partitionkey == conversation(user) else None


@asynccontextmanager
async def system() -> AsyncIterator[tuple[Bus, Ear, AgentBus]]:
    async with Bus(Topology(partitions=2)) as bus:
        await bus.declare()
        ear = Ear()
        listening = await bus.subscribe(("session.#",), ear.hear, prefetch=1000)
        yield bus, ear, AgentBus(bus)
        await listening.close()


@asynccontextmanager
async def working(bus: Bus, store: Store, *, embedded: bool = False) -> AsyncIterator[SessionWorker]:
    worker = SessionWorker(bus, store, config=SessionWorkerConfig(embedded=embedded, prefetch=100))
    await worker.start()
    try:
        yield worker
    finally:
        await worker.close(within=0)


async def say(client: AgentBus, user: str, *texts: str) -> None:
    await client.publish_many([message(text, text, user=user) for text in texts])


async def until_committed(store: Store, user: str, count: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            commits = await store.log.read(conversation(user), limit=1000)
            if sum(event.kind == "message_appended" for commit in commits for event in commit.events) == count:
                return
            await asyncio.sleep(0.005)


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(announcer, "PATIENCE", 0.05)


pytestmark = pytest.mark.usefixtures("_impatient")


async def test_a_subscriber_who_refuses_stops_no_commit_and_gets_all_later_in_order() -> None:
    async with Store() as store, system() as (bus, ear, client), working(bus, store):
        bus.refuses = refusing("ada")
        await say(client, "ada", "a1")
        await until_committed(store, "ada", 1)
        await say(client, "bob", "b1")
        await say(client, "ada", "a2", "a3")
        await until_committed(store, "ada", 3)
        await ear.until("bob", "b1")
        assert ear.texts("ada") == []
        async with asyncio.timeout(PATIENCE):
            while not await store.marks():
                await asyncio.sleep(0.005)
        bus.refuses = lambda _: None
        await say(client, "ada", "a4")
        await ear.until("ada", "a1", "a2", "a3", "a4")
        await store.until_settled()
        await say(client, "ada", "a5")
        await ear.until("ada", "a1", "a2", "a3", "a4", "a5")


async def test_what_is_owed_survives_a_crash_and_is_announced_without_anything_new() -> None:
    async with Store() as store, system() as (bus, ear, client):
        bus.refuses = refusing("ada")
        async with working(bus, store):
            await say(client, "ada", "a1", "a2")
            await say(client, "bob", "b1")
            await ear.until("bob", "b1")
            async with asyncio.timeout(PATIENCE):
                while not await store.marks():
                    await asyncio.sleep(0.005)
        bus.refuses = lambda _: None
        async with working(bus, store):
            await ear.until("ada", "a1", "a2")
            await store.until_settled()


async def test_the_next_owner_announces_nothing_new_before_what_is_owed() -> None:
    async with Store() as store, system() as (bus, ear, client):
        bus.refuses = refusing("ada")
        async with working(bus, store):
            await say(client, "ada", "a1")
            async with asyncio.timeout(PATIENCE):
                while not await store.marks():
                    await asyncio.sleep(0.005)
        bus.refuses = lambda _: None
        await say(client, "ada", "a2")
        async with working(bus, store):
            await ear.until("ada", "a1", "a2")
            await store.until_settled()


async def test_a_broker_that_takes_nothing_stops_no_commit_either() -> None:
    async with Store() as store, system() as (bus, ear, client), working(bus, store):
        bus.refuses = lambda _: BrokerBlocked()
        for number in range(3):
            await say(client, "ada", f"a{number}")
            await until_committed(store, "ada", number + 1)
        bus.refuses = lambda _: None
        await ear.until("ada", "a0", "a1", "a2")
        await store.until_settled()


async def test_a_log_that_cannot_be_read_keeps_nobody_elses_events() -> None:
    async with Store() as store, system() as (bus, ear, client):
        bus.refuses = lambda _: PublishUnconfirmed()
        async with working(bus, store):
            await say(client, "ada", "a1")
            await until_committed(store, "ada", 1)
            await say(client, "bob", "b1")
            async with asyncio.timeout(PATIENCE):
                while len(await store.marks()) < 2:
                    await asyncio.sleep(0.005)
        bus.refuses, store.damaged = lambda _: None, conversation("ada")
        async with working(bus, store):
            await ear.until("bob", "b1")
            await say(client, "ada", "a2")
            await ear.until("ada", "a2")
            assert [mark.data["conversation"] for mark in await store.marks()] == [conversation("ada")]


async def test_nothing_is_marked_while_all_goes_well() -> None:
    async with Store() as store, system() as (bus, ear, client), working(bus, store):
        await say(client, "ada", "a1", "a2", "a3")
        await ear.until("ada", "a1", "a2", "a3")
        assert store.marked == 0


async def test_a_process_of_its_own_announces_after_its_death_what_it_had_only_committed() -> None:
    async with Store() as store:
        async with system() as (bus, _, client), working(bus, store, embedded=True):
            bus.hangs = True
            await say(client, "ada", "a1")
            await until_committed(store, "ada", 1)
            async with asyncio.timeout(PATIENCE):
                await bus.hanging.wait()
        async with system() as (bus, ear, client), working(bus, store, embedded=True) as worker:
            assert ear.events == []
            worker.announce_owed()
            await ear.until("ada", "a1")
            await say(client, "ada", "a2")
            await ear.until("ada", "a1", "a2")


async def test_one_mark_serves_many_commits_of_a_process_of_its_own() -> None:
    async with Store() as store, system() as (bus, ear, client), working(bus, store, embedded=True):
        for number in range(10):
            await say(client, "ada", f"a{number}")
            await ear.until("ada", *(f"a{one}" for one in range(number + 1)))
        assert store.marked == 1


async def test_a_mark_of_a_process_of_its_own_goes_once_all_was_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrears, "SETTLE", 0.0)
    monkeypatch.setattr(arrears, "LATER", 0.01)
    async with Store() as store, system() as (bus, ear, client), working(bus, store, embedded=True) as worker:
        worker.announce_owed()
        await say(client, "ada", "a1")
        await ear.until("ada", "a1")
        await store.until_settled()
        await say(client, "ada", "a2")
        await ear.until("ada", "a1", "a2")
        assert store.marked == 2


@pytest.fixture
async def looked(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Return what is set each time that somebody has looked for marks."""
    looked, know = asyncio.Event(), arrears.Arrears.know

    async def knowing(one: arrears.Arrears) -> None:
        await know(one)
        looked.set()

    monkeypatch.setattr(arrears.Arrears, "know", knowing)
    monkeypatch.setattr(arrears, "LATER", 0.01)
    return looked


async def test_the_mark_of_a_process_that_lives_is_left_to_it_by_others_on_its_store(looked: asyncio.Event) -> None:
    async with (
        Store() as store,
        system() as (other_bus, other_ear, _),
        working(other_bus, store, embedded=True) as other,
    ):
        other.announce_owed()
        async with system() as (bus, ear, client), working(bus, store, embedded=True):
            await say(client, "ada", "a1")
            await ear.until("ada", "a1")
            for _ in range(2):  # the first look may have begun before the mark was there
                looked.clear()
                async with asyncio.timeout(PATIENCE):
                    await looked.wait()
            assert len(await store.marks()) == 1
            assert other_ear.events == []
            bus.hangs = True
            await say(client, "ada", "a2")
            await until_committed(store, "ada", 2)
            async with asyncio.timeout(PATIENCE):
                await bus.hanging.wait()
        await other_ear.until("ada", "a1", "a2")


async def test_what_is_owed_stays_so_where_nobody_is_to_hear_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrears, "LATER", 0.01)
    looked, settle = asyncio.Event(), arrears.Arrears._settle_ahead

    async def settling(one: arrears.Arrears) -> None:
        await settle(one)
        looked.set()

    monkeypatch.setattr(arrears.Arrears, "_settle_ahead", settling)
    path = tmp_path / "sessions.db"
    ada = conversation("ada")
    debt = Record(
        kind=RecordKind.UNANNOUNCED,
        key=f"{ada}/dead",
        group=arrears.GROUP,
        created_at=NOW,
        data={"conversation": ada},
        revision=1,
    )
    async with open_store(f"sqlite:///{path}") as store, asyncio.timeout(PATIENCE):
        await store.records.put_many([debt])
        settings = load_settings(amqp_url="memory://", store_url=f"sqlite:///{path}")
        nobody = SessionSystemConfig(storage_type=StorageType.DATABASE, storage_config={"db_path": str(path)})
        for deaf in (embedded(settings), SessionSystem(nobody)):
            async with deaf:
                for _ in range(2):
                    looked.clear()
                    await looked.wait()
                assert await store.records.get(RecordKind.UNANNOUNCED, debt.key)
        async with SessionSystem(nobody.update({"enable_sync": True})):
            while await store.records.get(RecordKind.UNANNOUNCED, debt.key):
                await asyncio.sleep(0.01)
