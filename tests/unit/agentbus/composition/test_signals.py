"""Signals: `run` ends by finishing what is in hand, and a second signal means what it did before."""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from agentbus.client import AgentBus
from agentbus.composition.signals import signalled
from agentbus.contracts.envelope import EventEnvelope
from agentbus.contracts.telemetry import Action
from agentbus.contracts.topology import Topology
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.bus.port import Message
from tests.harness.builders import a_conversation, appended
from tests.harness.patience import PATIENCE


@pytest.fixture
async def bus() -> AsyncIterator[MemoryBus]:
    async with MemoryBus(Topology(partitions=1)) as bus:
        await bus.declare()
        yield bus


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_run_finishes_what_is_in_hand_and_returns(bus: MemoryBus, number: signal.Signals) -> None:
    client = AgentBus(bus)
    entered, may_end, done = asyncio.Event(), asyncio.Event(), asyncio.Event()
    before = signal.getsignal(number)

    @client.on("session.#", durable="kept")
    async def slow(_: EventEnvelope) -> None:
        entered.set()
        await may_end.wait()
        done.set()

    with capture_logs() as logs:
        running = asyncio.create_task(client.run(grace=PATIENCE))
        await asyncio.sleep(0)
        await announced(bus)
        async with asyncio.timeout(PATIENCE):
            await entered.wait()
            os.kill(os.getpid(), number)
            while not logs:
                await asyncio.sleep(0)
            assert not running.done()
            may_end.set()
            await running
    assert done.is_set()
    assert [log["event"] for log in logs] == [Action.HANDLERS_DRAINING]
    await client.close()
    assert (await bus.depth(bus.topology.subscription_queue("kept"))).ready == 0, "it was acknowledged"
    assert signal.getsignal(number) is before


async def test_nobody_else_is_asked_outside_the_main_thread() -> None:
    def elsewhere() -> bool:
        async def taken() -> bool:
            before = signal.getsignal(signal.SIGTERM)
            with signalled() as stop:
                return signal.getsignal(signal.SIGTERM) is before and not stop.is_set()

        return asyncio.run(taken())

    assert threading.current_thread() is threading.main_thread()
    assert await asyncio.to_thread(elsewhere)


async def test_a_second_signal_is_as_without_agentbus() -> None:
    program = """
import asyncio
from agentbus.client import AgentBus
from agentbus.contracts.topology import Topology
from tests.unit.agentbus.composition.test_signals import announced
from agentbus.workers.bus.memory import MemoryBus

async def main():
    async with MemoryBus(Topology(partitions=1)) as bus:
        await bus.declare()
        client = AgentBus(bus)

        @client.on("session.#", durable="kept")
        async def endless(event):
            print("entered", flush=True)
            await asyncio.Event().wait()

        await client.start()
        await announced(bus)
        await client.run(grace=3600)

asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stderr is not None
    async with asyncio.timeout(3 * PATIENCE):
        assert (await process.stdout.readline()).strip() == b"entered"
        process.send_signal(signal.SIGTERM)
        while b"handlers_draining" not in await process.stdout.readline():
            pass
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == -signal.SIGTERM


async def announced(bus: MemoryBus) -> None:
    """Announce one event."""
    event = appended(a_conversation("ada"), 1, "m1")
    body = EventEnvelope.of(event).to_bytes()
    await bus.publish(bus.topology.events, event.routing_key, Message(body=body, message_id=event.event_id))
