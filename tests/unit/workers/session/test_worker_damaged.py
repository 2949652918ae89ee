"""A session worker on a damaged store: a damaged head heals, a conversation that can't be read fails alone."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from agentbus.client import AgentBus
from agentbus.contracts.address import Scope, conversation_id_for
from agentbus.contracts.commands import SetData
from agentbus.contracts.errors import AgentBusError, Refused, StoreDamaged, StoreUnavailable
from agentbus.contracts.events import Commit, MessageAppended
from agentbus.contracts.ids import ConversationId, SessionId, session_id_for
from agentbus.contracts.messages import TextContent
from agentbus.contracts.parked import ParkedInput
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.contracts.telemetry import Action
from agentbus.contracts.topology import Topology
from agentbus.operations.unblocking import replay_conversation
from agentbus.storage.factory import open_store
from agentbus.storage.port import Loaded, Store
from agentbus.storage.reading import iter_log, iter_parked
from agentbus.storage.wholeness import first_needed, loaded
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.delivery.retry import keep_trying
from agentbus.workers.domain.evolve import heads_along
from agentbus.workers.erasure.users import find_user
from agentbus.workers.session.config import SessionWorkerConfig
from agentbus.workers.session.worker import SessionWorker
from tests.contract.store_inside import spoil
from tests.harness.builders import a_commit, a_conversation, a_head, begun
from tests.harness.conversations import address, message
from tests.harness.erasures import ADA, town
from tests.harness.patience import PATIENCE

USERS = ("ann", "bob", "cid")
ANN = "ann"


@dataclass
class Bench:
    bus: MemoryBus
    store: Store
    worker: SessionWorker
    client: AgentBus

    async def tell(self, number: int) -> dict[str, Refused | None]:
        """Publish a message of each user, and return what became of a command behind it."""
        await self.client.publish_many([message(number, f"m{number}", user=user) for user in USERS])
        async with asyncio.timeout(PATIENCE):
            return {user: await self.set(user, number) for user in USERS}

    async def set(self, user: str, number: int) -> Refused | None:
        try:
            await self.client.send(SetData(session_id=session(user), values={"number": number}))
        except Refused as error:
            return error
        return None

    async def texts(self, user: str) -> list[str]:
        events = [event async for commit in iter_log(self.store, conversation(user)) for event in commit.events]
        contents = [event.message.content for event in events if isinstance(event, MessageAppended)]
        return [content.text for content in contents if isinstance(content, TextContent)]

    async def parked(self, count: int) -> list[ParkedInput]:
        async with asyncio.timeout(PATIENCE):
            while len(found := [parked async for parked in iter_parked(self.store)]) < count:
                await asyncio.sleep(0.01)
        return found


def conversation(user: str) -> ConversationId:
    return conversation_id_for(address(user=user), Scope.PER_CHAT_USER)


def session(user: str) -> SessionId:
    return session_id_for(conversation(user), 1)


@asynccontextmanager
async def running(url: str) -> AsyncIterator[Bench]:
    async with open_store(url) as store, MemoryBus(Topology(partitions=1)) as bus:
        await bus.declare()
        worker = SessionWorker(bus, store, config=SessionWorkerConfig(park_limit=2))
        client = AgentBus(bus)
        try:
            await client.start()
            await worker.start()
            yield Bench(bus, store, worker, client)
        finally:
            await worker.close()
            await client.close()


@pytest.fixture(params=["file", "sqlite"])
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of a store with a conversation of each user."""
    url = f"file://{tmp_path}/store" if request.param == "file" else f"sqlite:///{tmp_path}/store.db"
    async with running(url) as bench:
        assert await bench.tell(1) == dict.fromkeys(USERS)
    return url


async def spoil_head(url: str) -> None:
    async with open_store(url) as store:
        head = await store.heads.get(session(ANN))
        assert head is not None
        await spoil(store, head)


async def test_a_damaged_head_is_rebuilt_by_the_next_message(url: str) -> None:
    await spoil_head(url)
    with capture_logs() as lines:
        async with running(url) as bench:
            assert await bench.tell(2) == dict.fromkeys(USERS)
            for user in USERS:
                assert await bench.texts(user) == ["m1", "m2"]
            head = await bench.store.heads.get(session(ANN))
            assert head is not None
            assert (head.message_count, head.data) == (2, {"number": 2})
            assert [one async for one in iter_parked(bench.store)] == []
    told = [line for line in lines if line["event"] == Action.STORE_DAMAGED]
    assert [line["log_level"] for line in told] == ["warning"]


async def test_a_conversation_that_can_not_be_read_fails_alone(url: str) -> None:
    await spoil_head(url)
    async with open_store(url) as store:
        [lost] = await store.log.read(conversation(ANN), limit=1)
        await spoil(store, lost)

    async with running(url) as bench:
        for number in (2, 3):
            refused = await bench.tell(number)
            assert {user: error is None for user, error in refused.items()} == {"ann": False, "bob": True, "cid": True}
            assert str(refused[ANN]) == StoreDamaged.__doc__, "where it is kept is not for whoever publishes"
        for user in ("bob", "cid"):
            assert await bench.texts(user) == ["m1", "m2", "m3"]
        parked = await bench.parked(4)
        assert {(one.conversation_id, one.code) for one in parked} == {(conversation(ANN), StoreDamaged.code)}
        assert all("restore it from a backup" in one.reason for one in parked)
        with pytest.raises(AgentBusError, match="can't be read") as raised:
            await bench.client.session(session(ANN))
        assert url.partition("://")[2].rpartition("/")[0] not in str(raised.value)
        assert bench.worker.health().ready, "the brake is for what concerns all"


async def test_what_was_parked_is_applied_once_the_conversation_was_restored(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/store"
    async with running(url) as bench:
        await bench.tell(1)
    await spoil_head(url)
    async with open_store(url) as store:
        [lost] = await store.log.read(conversation(ANN), limit=1)
        await spoil(store, lost)

    async with running(url) as bench:
        await bench.tell(2)
        await bench.parked(2)
        await bench.store.log.replace([lost])
        await replay_conversation(bench.bus, bench.store, conversation(ANN), scope=Scope.PER_CHAT_USER)
        assert await bench.set(ANN, 3) is None
        assert await bench.texts(ANN) == ["m1", "m2"]


@pytest.mark.parametrize("what", ["the first head", "the last head", "a commit"])
async def test_erasing_does_not_overlook_what_can_not_be_read(tmp_path: Path, what: str) -> None:
    async with town(open_store(f"sqlite:///{tmp_path}/store.db"), f"file://{tmp_path}/archive") as it:
        one = a_conversation()
        commits = [a_commit(one, generation, events=[begun(one, generation=generation)]) for generation in (1, 2)]
        for commit in commits:
            await it.store.log.append([commit])
        first, last = heads = list(heads_along(SessionState.empty(one), commits))
        await it.store.heads.save(heads)
        assert not (await find_user(it.erasing, ADA)).sessions

        kept: dict[str, SessionState | Commit] = {"the first head": first, "the last head": last}
        await spoil(it.store, kept.get(what, commits[0]))

        with pytest.raises(StoreDamaged, match=one):
            await find_user(it.erasing, ADA)


@pytest.mark.parametrize("before", [0, 1, 3])
async def test_damage_is_not_waited_out(before: int) -> None:
    errors: deque[AgentBusError] = deque([StoreUnavailable()] * before + [StoreDamaged("the head is damaged")])

    async def call() -> None:
        raise errors.popleft()

    async with asyncio.timeout(PATIENCE):
        with pytest.raises(StoreDamaged, match="the head is damaged"):
            await keep_trying("load", call)
    assert not errors


@pytest.mark.parametrize(("status", "first"), [(SessionStatus.CLOSED, 3), (SessionStatus.ACTIVE, 4)])
def test_what_ended_a_session_is_needed_and_its_damage_is_the_conversations(status: SessionStatus, first: int) -> None:
    head = a_head(a_conversation(), version=3, status=status)

    def unreadable(version: int) -> Commit:
        raise StoreDamaged(f"commit {version}")

    assert first_needed(head) == first
    assert loaded(head, map(unreadable, (3,))).damage is not None
    assert loaded(head, ()) == Loaded(head)
