"""The dashboard's pulse: it counts while somebody looks, and lets go of the broker when nobody does."""

import asyncio

import pytest

from agentbus.contracts.errors import BrokerUnavailable
from agentbus.contracts.topology import Topology
from agentbus.http.dashboard import pulse as module
from agentbus.http.dashboard.pulse import Pulse
from agentbus.testing.clock import later
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.bus.port import Message


async def _announce(bus: MemoryBus, name: str) -> None:
    await bus.publish(bus.topology.events, "session.message.web", Message(body=b"{}", message_id=name), mandatory=False)


async def test_it_counts_from_the_first_look_on() -> None:
    async with MemoryBus(Topology(partitions=1)) as bus:
        await bus.declare()
        now = [100.5]
        pulse = Pulse(bus, timer=lambda: now[0])
        await _announce(bus, "before")
        assert await pulse.look() == [0]
        for name in "abc":
            await _announce(bus, name)
        while await pulse.look() != [3]:
            await later()
        now[0] = 102.0
        await _announce(bus, "d")
        while await pulse.look() != [3, 0, 1]:
            await later()
        now[0] = 400.0
        assert await pulse.look() == [0] * 61
        await pulse.close()
        await pulse.close()


async def test_each_change_is_told_to_everybody_who_listens() -> None:
    async with MemoryBus(Topology(partitions=1)) as bus:
        await bus.declare()
        pulse = Pulse(bus)
        one, other = pulse.changes(every=0, beat=60), pulse.changes(every=0.001, beat=60)
        for number in range(3):
            waiting = [asyncio.ensure_future(anext(changes)) for changes in (one, other)]
            while not pulse._since:
                await later()
            await _announce(bus, str(number))
            assert await asyncio.gather(*waiting) == [True, True]
        assert await anext(pulse.changes(every=0, beat=0)) is False
        waiting = [asyncio.ensure_future(anext(one))]
        while not waiting[0].done():
            pulse.wake()
            await later()
        assert waiting[0].result() is False
        await one.aclose()
        await other.aclose()
        await pulse.close()


async def test_it_ends_when_nobody_looks_and_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "UNSEEN", 0.0)
    async with MemoryBus(Topology(partitions=1)) as bus:
        await bus.declare()
        pulse = Pulse(bus)
        for _ in range(2):
            await pulse.look()
            watch = pulse._watch
            if watch is not None:
                await watch
            assert pulse._since is None
        monkeypatch.setattr(module, "UNSEEN", 60.0)
        await pulse.look()
        await _announce(bus, "again")
        while not any(await pulse.look()):
            await later()
        await pulse.close()


async def test_its_end_leaves_nothing_at_work() -> None:
    async with MemoryBus(Topology(partitions=1)) as bus:
        await bus.declare()
        pulse = Pulse(bus)
        await pulse.look()
        watch = pulse._watch
        assert watch is not None
        await pulse.close()
        assert watch.cancelled()


async def test_a_broker_that_is_away_is_said_and_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async with MemoryBus(Topology(partitions=1)) as bus:
        await bus.declare()

        async def gone(*_: object, **__: object) -> None:
            raise BrokerUnavailable("it is away")

        with monkeypatch.context() as patched:
            patched.setattr(bus, "subscribe", gone)
            pulse = Pulse(bus)
            with pytest.raises(BrokerUnavailable):
                await pulse.look()
        pulse = Pulse(bus)
        assert await pulse.look()
        await pulse.close()
