"""Platforms that are asked: one gateway at a time, and nothing is taken before the broker has it."""

import asyncio
import base64
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, cast

import pytest

from agentbus.contracts.address import Address, Platform
from agentbus.contracts.clock import Clock
from agentbus.contracts.errors import BrokerUnavailable
from agentbus.contracts.messages import InboundMessage, TextContent
from agentbus.contracts.records import RecordKind
from agentbus.contracts.topology import Topology
from agentbus.storage.memory import MemoryStore
from agentbus.workers.adapters.factory import accounts_in
from agentbus.workers.adapters.port import NotNow, Place, Received, Source
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.bus.port import Bus
from agentbus.workers.delivery.inputs import Inputs, Routed
from agentbus.workers.gateway.asking import Asking
from agentbus.workers.gateway.intake import Intake
from tests.harness.patience import PATIENCE

NOON = datetime(2025, 11, 27, 12, tzinfo=UTC)
SECRET = "whsec_" + base64.b64encode(b"a" * 24).decode()


class Noon(Clock):
    def now(self) -> datetime:
        return NOON


class Given(Source):
    """Gives messages one by one, each until it is taken; then nothing more, for ever."""

    def __init__(self, count: int) -> None:
        self._left = list(range(count))
        self.asked = 0
        self.refusing = 0
        self.empty = asyncio.Event()
        self.closed = False

    async def next(self, clock: Clock) -> Received:
        self.asked += 1
        if self.refusing:
            self.refusing -= 1
            raise NotNow("not now", after=0)
        if not self._left:
            self.empty.set()
            await asyncio.Event().wait()
        address = Address(platform=Platform.TELEGRAM, account="shop", chat="c", user="u")
        content = TextContent(text=f"{self._left[0]}")
        one = InboundMessage(address=address, message_id=content.text, sent_at=clock.now(), content=content)
        return Received(messages=(one,))

    def taken(self) -> None:
        self._left.pop(0)

    async def close(self) -> None:
        self.closed = True


class Failing(Inputs):
    def __init__(self, bus: Bus) -> None:
        super().__init__(bus)
        self.failing = 0
        self.published: list[str] = []

    async def publish(self, left: list[Routed], *, within: float = 0.0) -> None:  # noqa: ARG002 - it is not slow
        if self.failing:
            self.failing -= 1
            raise BrokerUnavailable
        self.published += [one.message.message_id for one in left]


@pytest.fixture
async def inputs() -> AsyncIterator[Failing]:
    async with MemoryBus(Topology(partitions=2)) as bus:
        yield Failing(bus)


@pytest.fixture
async def store() -> AsyncIterator[MemoryStore]:
    async with MemoryStore() as store:
        yield store


def asking(source: Source, inputs: Inputs, store: MemoryStore) -> Asking:
    intake = Intake(inputs, accounts_in({"webhook": {"shop": {"secret": SECRET}}}), rate=1)
    return Asking(intake, "webhook", "shop", source, store=store, prefix="agentbus", clock=Noon())


async def test_all_is_published_once_though_the_platform_refuses_and_the_broker_fails(
    inputs: Failing, store: MemoryStore
) -> None:
    source = Given(3)
    source.refusing, inputs.failing = 2, 2
    one = asking(source, inputs, store)
    await one.start()
    await asyncio.wait_for(source.empty.wait(), PATIENCE)
    assert one.running
    await one.close()

    assert len(set(inputs.published)) == len(inputs.published) == 3
    assert source.asked == 2 + 3 + 1
    assert source.closed
    assert not one.running


async def test_one_asks_and_another_goes_on_when_it_has_ended(inputs: Failing, store: MemoryStore) -> None:
    first, second = Given(1), Given(1)
    one, other = asking(first, inputs, store), asking(second, inputs, store)
    await one.start()
    await asyncio.wait_for(first.empty.wait(), PATIENCE)
    assert not await other._turn()
    assert second.asked == 0
    await one.close()

    assert await other._turn()
    assert second.asked == 1
    await other.close()
    assert await store.locks.acquire("agentbus/asking/webhook/shop", ttl=1)


class Placed(Given):
    """One that says how far it is, and begins where it is told to."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.rested = 0

    @property
    def place(self) -> Place:
        return {"left": list(self._left)}

    def go_on(self, place: Place | None) -> None:
        if place is not None:
            self._left = [int(str(one)) for one in cast("list[Any]", place["left"])]

    async def rest(self) -> None:
        self.rested += 1


NOTE = "agentbus/asking/webhook/shop"


async def noted(store: MemoryStore) -> Any:
    record = await store.records.get(RecordKind.ASKED, NOTE)
    return record.data if record else None


async def test_how_far_it_is_is_noted_once_the_broker_has_it_and_the_next_one_goes_on_from_there(
    inputs: Failing, store: MemoryStore
) -> None:
    one = asking(Placed(3), inputs, store)
    assert await one._turn()
    assert await noted(store) == {"left": [1, 2]}
    assert await one._turn()  # within a second of the last note: this one is made in time, or at the end
    await one.close()
    assert await noted(store) == {"left": [2]}

    other = asking(Placed(9), inputs, store)
    assert await other._turn()
    await other.close()
    assert len(inputs.published) == len(set(inputs.published)) == 3
    assert await noted(store) == {"left": []}


async def test_whose_lease_has_gone_to_somebody_else_lets_go_and_notes_nothing(
    inputs: Failing, store: MemoryStore
) -> None:
    source = Placed(3)
    one = asking(source, inputs, store)
    assert await one._turn()
    before = await noted(store)
    assert one._token is not None
    await store.locks.release(NOTE, one._token)
    stolen = await store.locks.acquire(NOTE, ttl=60)
    assert stolen

    await one._say()
    rested = source.rested
    assert not await one._turn()
    assert source.rested == rested + 1
    assert source.asked == 1
    await one.close()
    assert await noted(store) == before
    assert await store.locks.renew(NOTE, stolen.token, ttl=60), "it was not given back by whoever had lost it"


async def test_what_was_not_published_when_it_ended_is_not_taken(inputs: Failing, store: MemoryStore) -> None:
    source = Given(1)
    inputs.failing = 10**9
    one = asking(source, inputs, store)
    await one.start()
    async with asyncio.timeout(PATIENCE):
        while inputs.failing == 10**9:
            await asyncio.sleep(0)
    await one.close()

    assert source._left == [0]
    assert inputs.published == []
