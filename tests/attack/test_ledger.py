"""The ledger itself: it finds a forged command that was carried out, whatever else became of it."""

import asyncio
from dataclasses import replace

import pytest

from agentbus.contracts.clock import SystemClock
from agentbus.contracts.commands import CommandReply, CreateSession
from agentbus.contracts.envelope import InputEnvelope
from agentbus.contracts.topology import Topology
from agentbus.storage.memory import MemoryStore
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.bus.port import Message
from agentbus.workers.delivery.parking import read_parked
from agentbus.workers.session.config import SessionWorkerConfig
from agentbus.workers.session.worker import SessionWorker
from tests.attack.crafted.hostile import Hostile, Shot
from tests.attack.storm.ledger import Fate, Ledger, reckon
from tests.harness.conversations import message
from tests.harness.deliveries import Handed
from tests.harness.patience import PATIENCE

USER = "application"


def forged(topology: Topology, many: int) -> list[Shot]:
    """Return forged commands, one of which the rules have nothing against: it begins a session."""
    hostile = Hostile(topology, "20260101/ledger")
    begins = InputEnvelope(id="begins", data=CreateSession(address=message(1).address)).to_bytes()
    (first, *others) = [hostile.forged() for _ in range(many)]
    return [replace(first, body=begins, message_id="begins"), *others]


async def outcome(*, command_users: tuple[str, ...], beside: bool = False) -> Ledger:
    """Send forged commands to a worker that takes commands of `command_users` alone, if it names any."""
    store, topology = MemoryStore(), Topology(partitions=1)
    replies: dict[int, CommandReply] = {}
    async with MemoryBus(topology) as bus:
        await bus.declare()
        worker = SessionWorker(bus, store, config=SessionWorkerConfig(command_users=command_users))
        await worker.start()
        shots = forged(topology, 40)
        for number, shot in enumerate(shots):
            asked = Message(body=shot.body, message_id=shot.message_id)
            body = await bus.request(shot.exchange, shot.routing_key.decode(), asked, timeout=PATIENCE)
            replies[number] = CommandReply.model_validate_json(body)
        if beside:
            records = [Handed(shot.body, message_id=shot.message_id) for shot in shots]
            await store.parked.put_many([read_parked(one, SystemClock()) for one in records])
        await worker.close()
        return await reckon(shots, replies, store, bus)


async def test_forged_commands_that_are_refused_are_accounted_for() -> None:
    ledger = await outcome(command_users=(USER,))
    assert (ledger.carried_out, ledger.fates) == (0, {Fate.REFUSED: 40})
    assert ledger.refusals == {"untrusted_sender": 40}


@pytest.mark.parametrize("beside", [False, True], ids=["carried out", "carried out, and parked beside"])
async def test_one_that_was_carried_out_is_a_finding(*, beside: bool) -> None:
    """The list of users is what refuses them: without it, as before it was built, some are carried out."""
    async with asyncio.timeout(PATIENCE):
        ledger = await outcome(command_users=(), beside=beside)
    assert ledger.carried_out > 0
    assert any(example.startswith("carried out: forged command") for example in ledger.examples)
