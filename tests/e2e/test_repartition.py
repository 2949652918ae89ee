"""`agentbus topology repartition` under load, by its processes: nothing lost, doubled or out of order."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from agentbus.client import connect
from agentbus.contracts.address import Address, Scope, conversation_id_for
from agentbus.contracts.envelope import InputEnvelope
from agentbus.contracts.errors import BusError, InstallationMismatch
from agentbus.contracts.messages import InboundMessage, TextContent
from agentbus.contracts.topology import Topology
from agentbus.storage.factory import open_store
from agentbus.testing import Published, check, read_evidence
from agentbus.workers.bus.port import Message
from agentbus.workers.bus.rabbit import RabbitBus
from tests.e2e.conftest import Distributed
from tests.harness.processes import Program, started

BEFORE, AFTER = 8, 20
CHATS = 15
SECONDS = 90

Publish = Callable[[InboundMessage], Awaitable[object]]


def said(chat: str, number: int) -> InboundMessage:
    where = Address(platform="telegram", chat=chat, user="ada")
    return InboundMessage(
        address=where, message_id=str(number), sent_at=datetime.now(UTC), content=TextContent(text=f"{number}")
    )


@dataclass
class Load:
    """Publishes a round of messages to all chats, each again until it is confirmed, whatever happens; then the next."""

    url: str
    partitions: int = BEFORE
    chats: str = "chat"
    published: list[Published] = field(default_factory=list)
    refused: int = 0
    stop: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Go on until told to stop; connect with the new number once the old one is refused."""
        number = 0
        while not self.stop.is_set():
            try:
                async with self.connected() as publish:
                    while not self.stop.is_set():
                        for chat in range(CHATS):
                            await self.attempt(publish, said(f"{self.chats}{chat}", number))
                        number += 1
                        await asyncio.sleep(0.05)
            except InstallationMismatch as error:
                self.refused += 1
                there = str(error.details["there"])
                if ".to." not in there:
                    self.partitions = int(there.split(".", maxsplit=1)[0])
                await asyncio.sleep(0.1)
            except BusError:
                await asyncio.sleep(0.1)  # busy cores: no connection, or no confirm, in time

    async def attempt(self, publish: Publish, message: InboundMessage) -> None:
        """Publish once, and keep what became of it."""
        conversation, confirmed = conversation_id_for(message.address, Scope.PER_CHAT_USER), False
        try:
            await publish(message)
            confirmed = True
        finally:
            self.published.append(Published(conversation, message.input_id(), confirmed))

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Publish]:
        """Connect as programs do."""
        async with connect(self.url, partitions=self.partitions) as client:
            yield client.publish


class IngressLoad(Load):
    """Publishes to the ingress, which never refuses."""

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Publish]:
        """Connect as programs in other languages do."""
        topology = Topology()
        async with RabbitBus(self.url, topology) as bus:

            async def publish(message: InboundMessage) -> None:
                envelope = InputEnvelope(id=message.input_id(), source="/test", data=message)
                await bus.publish(topology.ingress, "", Message(body=envelope.to_bytes(), message_id=envelope.id))

            yield publish


@contextmanager
def workers(distributed: Distributed, partitions: int) -> Iterator[list[Program]]:
    env = distributed.env | {"AGENTBUS_PARTITIONS": str(partitions)}
    with ExitStack() as stack:
        programs = [
            stack.enter_context(started("-m", "agentbus", "worker", kind, folder=distributed.folder, env=env))
            for kind in ("session", "session", "ingress", "expiry")
        ]
        for program in programs:
            program.until_printed("worker_started")
        yield programs


@contextmanager
def repartition(distributed: Distributed) -> Iterator[Program]:
    arguments = ("-m", "agentbus", "topology", "repartition", str(AFTER))
    with started(*arguments, folder=distributed.folder, env=distributed.env) as program:
        yield program


async def ended(program: Program) -> int:
    return await asyncio.to_thread(program.process.wait, SECONDS)


@pytest.mark.timeout(600)  # fifteen programs are started; each takes some seconds where the cores are busy
async def test_under_load_and_killed_in_the_middle_it_keeps_every_message_in_order(distributed: Distributed) -> None:
    load, ingress = Load(distributed.amqp_url), IngressLoad(distributed.amqp_url, chats="ingress")
    with workers(distributed, BEFORE) as before:
        tasks = [asyncio.create_task(one.run()) for one in (load, ingress)]
        await asyncio.sleep(2)
        with repartition(distributed) as killed:
            await asyncio.to_thread(killed.until_printed, "intake is closed")
            killed.kill()
        for program in before:
            assert await ended(program) == 1
            assert f"being changed to {AFTER}" in program.output()
        with started("-m", "agentbus", "worker", "session", folder=distributed.folder, env=distributed.env) as program:
            assert await ended(program) == 1
            assert f"wait until `agentbus topology repartition {AFTER}` has ended" in program.output()
    with repartition(distributed) as program:
        assert await ended(program) == 0, program.output()
        assert f"AGENTBUS_PARTITIONS={AFTER}" in program.output()
    with workers(distributed, AFTER):
        await asyncio.sleep(2)
        for one in (load, ingress):
            one.stop.set()
        await asyncio.gather(*tasks)
        assert load.refused
        assert load.partitions == AFTER
        everything = [*load.published, *ingress.published]
        confirmed = len({(one.conversation_id, one.input_id) for one in everything if one.confirmed})
        async with open_store(distributed.store_url) as store:
            async with asyncio.timeout(SECONDS):
                while (verdict := check(await read_evidence(store, everything))).committed < confirmed:
                    await asyncio.sleep(0.5)
    assert verdict.held, verdict.as_dict()
    assert (verdict.lost, verdict.duplicated, verdict.reordered, verdict.parked) == (0, 0, 0, 0)
    assert verdict.committed >= confirmed > 2 * CHATS
    assert len({chat.conversation_id for chat in everything}) == 2 * CHATS
