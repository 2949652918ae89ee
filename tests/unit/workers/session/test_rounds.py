"""Rounds side by side: small ones while there is little to do, large ones when there is much; never two of a lane."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from agentbus.client import AgentBus
from agentbus.contracts.errors import StoreError
from agentbus.contracts.events import Commit
from agentbus.contracts.history import Page
from agentbus.contracts.ids import ConversationId, session_id_for
from agentbus.contracts.records import Record, RecordKind
from agentbus.contracts.session import SessionState
from agentbus.contracts.topology import Topology
from agentbus.storage.memory import MemoryStore
from agentbus.storage.memory.heads import MemoryHeads
from agentbus.storage.memory.log import MemoryLog
from agentbus.storage.memory.records import MemoryRecords
from agentbus.storage.reading import iter_log
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.installation.machine import KEY
from agentbus.workers.session.config import SessionWorkerConfig
from agentbus.workers.session.worker import SessionWorker
from tests.harness.conversations import message
from tests.harness.patience import PATIENCE

FEW = SessionWorkerConfig().few_turns


class Held(MemoryStore):
    """A store in which appends of some conversations, heads, or looks for marks wait until they are let go."""

    def __init__(self) -> None:
        super().__init__()
        self.appends: dict[ConversationId, asyncio.Event] = {}
        self.saves, self.looks, self.machine = asyncio.Event(), asyncio.Event(), asyncio.Event()
        for gate in (self.saves, self.looks, self.machine):
            gate.set()
        self.waiting_for_the_machine = 0
        self.batches: list[int] = []
        self.heads = _Heads(self.saves)
        self.log = _Log(self)
        self.records = _Records(self)


class _Heads(MemoryHeads):
    def __init__(self, saves: asyncio.Event) -> None:
        super().__init__()
        self._saves = saves

    async def save(self, heads: Sequence[SessionState]) -> list[StoreError | None]:
        await self._saves.wait()
        return await super().save(heads)


class _Log(MemoryLog):
    def __init__(self, store: Held) -> None:
        super().__init__(store.heads)
        self._store = store

    async def append(self, commits: Sequence[Commit]) -> list[StoreError | None]:
        self._store.batches.append(len(commits))
        for commit in commits:
            if held := self._store.appends.get(commit.conversation_id):
                await held.wait()
        return await super().append(commits)


class _Records(MemoryRecords):
    def __init__(self, store: Held) -> None:
        super().__init__()
        self._store = store

    async def get(self, kind: RecordKind, key: str) -> Record | None:
        if (kind, key) == (RecordKind.INSTALLATION, KEY) and not self._store.machine.is_set():
            self._store.waiting_for_the_machine += 1
            await self._store.machine.wait()
        return await super().get(kind, key)

    async def page(self, kind: RecordKind, group: str, *, limit: int = 50, cursor: str | None = None) -> Page[Record]:
        if kind is RecordKind.UNANNOUNCED:
            await self._store.looks.wait()
        return await super().page(kind, group, limit=limit, cursor=cursor)


class Running:
    """A worker, and who publishes to it."""

    def __init__(self, bus: MemoryBus, store: Held, worker: SessionWorker) -> None:
        self.bus = bus
        self.store = store
        self.worker = worker
        self.client = AgentBus(bus)

    async def say(self, user: str, number: int = 1) -> ConversationId:
        return (await self.client.publish(message(number, f"m{number}", user=user))).conversation_id

    async def committed(self, conversation: ConversationId) -> list[str]:
        return [one async for commit in iter_log(self.store, conversation) for one in commit.inputs]

    async def until(self, conversation: ConversationId, count: int = 1) -> list[str]:
        async with asyncio.timeout(PATIENCE):
            while len(found := await self.committed(conversation)) < count:
                await asyncio.sleep(0)
        return found

    async def until_head(self, conversation: ConversationId, messages: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while True:
                head = await self.store.heads.get(session_id_for(conversation, 1))
                if head and head.message_count == messages:
                    return
                await asyncio.sleep(0)

    async def hold(self, users: Sequence[str]) -> list[ConversationId]:
        """Have the appends of some people's messages wait, and publish one of each."""
        held = [await self.say(user, 0) for user in users]
        for conversation in held:
            await self.until(conversation)
            self.store.appends[conversation] = asyncio.Event()
        for user in users:
            await self.say(user)
        await quiet()
        return held


async def quiet() -> None:
    """Let all go on that can."""
    for _ in range(200):
        await asyncio.sleep(0)


@asynccontextmanager
async def running(config: SessionWorkerConfig | None = None, *, partitions: int = 4) -> AsyncIterator[Running]:
    store = Held()
    async with MemoryBus(Topology(partitions=partitions)) as bus:
        await bus.declare()
        worker = SessionWorker(bus, store, config=config)
        await worker.start()
        try:
            yield Running(bus, store, worker)
        finally:
            for held in store.appends.values():
                held.set()
            for gate in (store.saves, store.looks, store.machine):
                gate.set()
            await worker.close()


async def test_who_waits_for_the_store_keeps_no_other_conversation_waiting_while_there_is_little_to_do() -> None:
    async with running() as run:
        (ann,) = await run.hold(["ann"])
        await run.until(await run.say("bob"))
        assert len(await run.committed(ann)) == 1


async def test_the_next_message_of_a_conversation_waits_for_the_one_before_it() -> None:
    async with running() as run:
        (ann,) = await run.hold(["ann"])
        for number in (2, 3):
            await run.say("ann", number)
        await quiet()
        assert run.store.batches == [1, 1], "a round of the same conversation began beside the first"
        run.store.appends.pop(ann).set()
        found = await run.until(ann, 4)
        assert found == [message(number, user="ann").input_id() for number in range(4)]


async def test_once_there_is_much_to_do_it_gathers() -> None:
    async with running() as run:
        held = await run.hold([f"held{number}" for number in range(FEW)])
        before = len(run.store.batches)
        others = [await run.say(f"other{number}") for number in range(12)]
        await quiet()
        assert run.store.batches[before:] == [], "a small round began beside as many as there should be"
        run.store.appends.pop(held[0]).set()
        for other in others:
            await run.until(other)
        assert run.store.batches[before:] == [12]


async def test_an_embedded_worker_has_one_round_at_a_time() -> None:
    async with running(SessionWorkerConfig(embedded=True)) as run:
        (ann,) = await run.hold(["ann"])
        bob = await run.say("bob")
        await quiet()
        assert await run.committed(bob) == []
        run.store.appends.pop(ann).set()
        await run.until(bob)


async def test_nothing_is_committed_before_it_is_known_what_an_owner_before_did_not_announce() -> None:
    async with running(partitions=1) as run:
        run.store.looks.clear()
        first = await run.say("ann")
        await quiet()
        second = await run.say("bob")
        await quiet()
        assert run.store.batches == []
        run.store.looks.set()
        assert len(await run.until(first)) == len(await run.until(second)) == 1


async def test_the_state_machine_is_read_again_in_nobodys_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentbus.workers.installation.machine.INTERVAL", 1_000.0)
    monkeypatch.setattr("agentbus.workers.session.worker.INTERVAL", 0.01)
    async with running(partitions=1) as run:
        await run.until(await run.say("ann"))
        run.store.machine.clear()
        async with asyncio.timeout(PATIENCE):
            while not run.store.waiting_for_the_machine:
                await asyncio.sleep(0.001)
        await run.until(await run.say("bob"))
        assert run.store.waiting_for_the_machine == 1


@pytest.mark.parametrize("point", ["append", "heads", "looks"])
async def test_ended_in_the_middle_of_rounds_side_by_side_nothing_is_lost_or_doubled(point: str) -> None:
    async with running(partitions=1) as run:
        users = [f"user{number}" for number in range(FEW)]
        if point == "looks":
            run.store.looks.clear()
            conversations = [await run.say(user, 0) for user in users]
        else:
            conversations = [await run.say(user, 0) for user in users]
            for conversation in conversations:
                await run.until(conversation)
            if point == "append":
                run.store.appends |= {one: asyncio.Event() for one in conversations[::2]}
            else:
                run.store.saves.clear()
        for user in users:
            await run.say(user)
        await quiet()
        await run.worker.close(within=0)
        run.store.appends.clear()
        run.store.saves.set()
        run.store.looks.set()
        run.worker = SessionWorker(run.bus, run.store)
        await run.worker.start()
        try:
            for user, conversation in zip(users, conversations, strict=True):
                expected = [message(number, user=user).input_id() for number in (0, 1)]
                assert await run.until(conversation, 2) == expected
                await run.until_head(conversation, 2)
        finally:
            await run.worker.close()
