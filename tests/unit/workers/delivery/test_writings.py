"""What is being written is heard by whoever shows it, and passed over by those who are for events."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from agentbus.client import AgentBus
from agentbus.contracts.commands import CloseSession, CreateSession, ShareSession
from agentbus.contracts.envelope import EventEnvelope
from agentbus.contracts.errors import AccessDenied, SchemaViolation, SessionNotFound
from agentbus.contracts.ids import SessionId
from agentbus.contracts.profile import Permission, Profile
from agentbus.contracts.topology import Topology
from agentbus.contracts.writing import MAX_WRITING_BYTES, Writing, WritingEnvelope
from agentbus.storage.memory import MemoryStore
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.bus.port import Message
from agentbus.workers.delivery.writings import Writings
from agentbus.workers.session.worker import SessionWorker
from tests.harness.conversations import address, message
from tests.harness.patience import PATIENCE


class World:
    def __init__(self, bus: MemoryBus) -> None:
        self.bus = bus
        self.client = AgentBus(bus)
        self.heard: asyncio.Queue[WritingEnvelope] = asyncio.Queue()

    async def made(self) -> SessionId:
        reply = await self.client.send(CreateSession(address=address(), profile=Profile(owner="ada")))
        assert reply.session_id is not None
        return reply.session_id

    async def told(self, session: str, text: str) -> WritingEnvelope:
        """Tell something, and wait until it is heard."""
        await self.client.tell_writing(session, Writing(id="w", text=text))
        async with asyncio.timeout(PATIENCE):
            return await self.heard.get()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with MemoryBus(Topology(partitions=2)) as bus, MemoryStore() as store:
        await bus.declare()
        worker = SessionWorker(bus, store)
        await worker.start()
        world = World(bus)
        writings = Writings(bus, ["telegram", "web"], world.heard.put_nowait)
        await writings.start()
        yield world
        await writings.close()
        await world.client.close()
        await worker.close()


async def test_it_is_heard_with_where_it_goes(world: World) -> None:
    session = await world.made()
    told = await world.told(session, "so far")
    assert told.data == Writing(id="w", to=address(), text="so far")
    assert (told.subject, told.partitionkey) == (session, session.partition(".")[0])


async def test_who_may_not_write_may_not_tell(world: World) -> None:
    session = await world.made()
    await world.client.send(ShareSession(session_id=session, actor="ada", user="eve", permission=Permission.READ))
    with pytest.raises(AccessDenied):
        await world.client._query(
            {"kind": "tell_writing", "session_id": session, "actor": "eve", "writing": {"id": "w", "text": "?"}}, 10.0
        )
    with pytest.raises(SessionNotFound):
        await world.client.tell_writing(f"{session[:-1]}9", Writing(id="w", text="?"))
    assert (await world.told(session, "heard")).data.text == "heard"


async def test_of_a_session_that_is_over_nothing_is_heard(world: World) -> None:
    session = await world.made()
    await world.client.send(CloseSession(session_id=session))
    await world.client.tell_writing(session, Writing(id="w", text="too late"))
    assert (await world.told(await world.made(), "in time")).data.text == "in time"


async def test_more_than_is_told_is_refused(world: World) -> None:
    session = await world.made()
    raw = {"kind": "tell_writing", "session_id": session, "writing": {"id": "w", "text": "é" * MAX_WRITING_BYTES}}
    with pytest.raises(SchemaViolation):
        await world.client._query(raw, 10.0)


async def test_who_subscribes_to_everything_gets_events_alone(world: World) -> None:
    events: asyncio.Queue[EventEnvelope] = asyncio.Queue()

    @world.client.on("session.#", durable="all")
    async def note(event: EventEnvelope) -> None:
        events.put_nowait(event)

    assert callable(note)
    await world.client.start()
    session = await world.made()
    await world.told(session, "so far")
    await world.client.publish(message())
    async with asyncio.timeout(PATIENCE):
        kinds = [(await events.get()).data.kind for _ in range(2)]
    assert kinds == ["session_started", "message_appended"]
    assert (await world.bus.depth(world.bus.topology.parked)).ready == 0


async def test_what_is_none_is_passed_over(world: World) -> None:
    topology = world.bus.topology
    for body in (b"", b"\xff", b"{}", b'{"type":"agentbus.writing.v1","data":{"id":""}}'):
        await world.bus.publish(topology.events, "session.writing.web", Message(body=body, message_id="m"))
    assert (await world.told(await world.made(), "heard")).data.text == "heard"


async def test_a_field_of_a_later_release_is_passed_over(world: World) -> None:
    later = (
        b'{"type":"agentbus.writing.v1","id":"1","subject":"s","partitionkey":"c","new":1,"data":{"id":"w","new":1}}'
    )
    await world.bus.publish(world.bus.topology.events, "session.writing.web", Message(body=later, message_id="m"))
    async with asyncio.timeout(PATIENCE):
        assert (await world.heard.get()).data.id == "w"
