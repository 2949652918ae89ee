"""Reading a session over the bus: answered by the workers, changing nothing, with rights checked."""

from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from agentbus.client import AgentBus
from agentbus.contracts.commands import CloseSession, CreateSession, DeleteSession, SetData, ShareSession
from agentbus.contracts.envelope import InputEnvelope
from agentbus.contracts.errors import AccessDenied, Refused, SchemaViolation, SessionNotFound, StoreUnavailable
from agentbus.contracts.history import SessionFilter
from agentbus.contracts.ids import ConversationId, SessionId, conversation_of, session_id_for
from agentbus.contracts.messages import TextContent
from agentbus.contracts.profile import Permission, Profile
from agentbus.contracts.queries import ReadSession
from agentbus.contracts.session import SessionState
from agentbus.contracts.topology import Topology
from agentbus.storage.memory import MemoryStore
from agentbus.storage.memory.heads import MemoryHeads
from agentbus.storage.memory.log import MemoryLog
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.bus.port import Message
from agentbus.workers.session.worker import SessionWorker
from tests.harness.builders import a_conversation
from tests.harness.conversations import address, message


class TroubledHeads(MemoryHeads):
    """Fail as they are told."""

    failure: Exception | None = None

    async def get(self, session: SessionId) -> SessionState | None:
        if self.failure:
            raise self.failure
        return await super().get(session)


class Troubled(MemoryStore):
    """A store whose heads fail as they are told."""

    def __init__(self) -> None:
        super().__init__()
        self.heads: TroubledHeads = TroubledHeads()
        self.log = MemoryLog(self.heads)


class World:
    def __init__(self, bus: MemoryBus, store: Troubled, worker: SessionWorker) -> None:
        self.bus = bus
        self.store = store
        self.worker = worker
        self.client = AgentBus(bus)

    async def made(self, owner: str = "ada", chat: str = "lobby") -> SessionId:
        reply = await self.client.send(
            CreateSession(address=address(chat), profile=Profile(owner=owner), data={"token": "kept", "step": 1})
        )
        assert reply.session_id is not None
        return reply.session_id

    async def conversation(self, count: int) -> SessionId:
        session = await self.made()
        await self.client.publish_many([message(number, f"says {number}") for number in range(1, count + 1)])
        await self.client.send(SetData(session_id=session, values={"said": count}))
        return session

    async def commits(self, conversation: ConversationId) -> int:
        return len(await self.store.log.read(conversation, limit=100))


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with MemoryBus(Topology(partitions=2)) as bus, Troubled() as store:
        await bus.declare()
        worker = SessionWorker(bus, store)
        await worker.start()
        yield World(bus, store, worker)
        await worker.close()


async def test_a_session_is_read_whole_and_nothing_changes(world: World) -> None:
    session = await world.made()
    before = await world.commits(conversation_of(session))
    read = await world.client.session(session)
    assert read == await world.store.heads.get(session)
    assert read.data == {"token": "kept", "step": 1}, "what is read is what was set"
    assert await world.commits(conversation_of(session)) == before
    assert (await world.store.parked.page()).items == ()


async def test_an_earlier_session_can_be_read_as_well(world: World) -> None:
    session = await world.made()
    await world.client.send(CloseSession(session_id=session))
    assert (await world.made()) != session
    assert (await world.client.session(session)).status == "closed"


async def test_a_history_is_read_in_pages(world: World) -> None:
    session = await world.conversation(5)
    newest = await world.client.history(session, limit=3)
    assert [_text(one.message.content) for one in newest.items] == ["says 3", "says 4", "says 5"]
    oldest = await world.client.history(session, limit=3, cursor=newest.cursor)
    assert [_text(one.message.content) for one in oldest.items] == ["says 1", "says 2"]
    assert oldest.cursor is None


def _text(content: object) -> str:
    assert isinstance(content, TextContent)
    return content.text


async def test_rights_are_checked_as_elsewhere(world: World) -> None:
    session = await world.made(owner="ada")
    assert (await world.client.session(session, user_id="ada")).profile.owner == "ada"
    with pytest.raises(AccessDenied):
        await world.client.session(session, user_id="eve")
    with pytest.raises(AccessDenied):
        await world.client.history(session, user_id="eve")
    await world.client.send(ShareSession(session_id=session, actor="ada", user="eve", permission=Permission.READ))
    assert (await world.client.history(session, user_id="eve")).items == ()


async def test_a_refusal_does_not_tell_whether_there_is_a_session(world: World) -> None:
    session = await world.made(owner="ada")
    nowhere = session_id_for(a_conversation("nowhere"), 1)
    refusals = []
    for one in (session, nowhere):
        with pytest.raises(AccessDenied) as refused:
            await world.client.session(one, user_id="eve")
        refusals.append(str(refused.value))
    assert len(set(refusals)) == 1
    with pytest.raises(SessionNotFound):
        await world.client.session(nowhere)


async def test_a_deleted_session_is_not_there(world: World) -> None:
    session = await world.made()
    await world.client.send(DeleteSession(session_id=session))
    with pytest.raises(SessionNotFound):
        await world.client.session(session)


@pytest.mark.parametrize("wrong", ["no id", "x" * 300])
async def test_what_is_no_session_id_is_not_asked(world: World, wrong: str) -> None:
    with pytest.raises(SchemaViolation, match="session_id"):
        await world.client.session(wrong)


@pytest.mark.parametrize("limit", [0, 201])
async def test_a_page_is_bounded(world: World, limit: int) -> None:
    with pytest.raises(SchemaViolation, match="limit"):
        await world.client.history(await world.made(), limit=limit)


async def test_a_cursor_of_another_session_is_refused(world: World) -> None:
    cursor = (await world.client.history(await world.conversation(3), limit=1)).cursor
    with pytest.raises(Refused, match="cursor"):
        await world.client.history(await world.made(chat="other"), cursor=cursor)


async def test_a_store_that_is_away_is_said_and_the_next_query_is_answered(world: World) -> None:
    session = await world.made()
    world.store.heads.failure = StoreUnavailable("the store is away")
    with pytest.raises(Refused, match="the store is away"):
        await world.client.session(session)
    world.store.heads.failure = LookupError("a secret")
    with capture_logs() as logs, pytest.raises(Refused, match="the query failed") as refused:
        await world.client.session(session)
    assert [log["error"] for log in logs if log["event"] == "query_failed"] == ["LookupError"]
    assert "secret" not in str(refused.value)
    world.store.heads.failure = None
    assert (await world.client.session(session)).session_id == session


async def test_a_query_that_nobody_waits_for_is_dropped(world: World) -> None:
    session = await world.made()
    envelope = InputEnvelope(id="q1", data=ReadSession(session_id=session))
    partition = world.bus.topology.partition_of(conversation_of(session))
    await world.bus.publish(
        world.bus.topology.inbound, str(partition), Message(body=envelope.to_bytes(), message_id="q1")
    )
    await world.client.session(session)
    await world.worker.close()
    assert (await world.bus.depth(world.bus.topology.partition_queue(partition))).ready == 0
    assert (await world.store.parked.page()).items == ()
    assert len((await world.store.heads.page(SessionFilter())).items) == 1
