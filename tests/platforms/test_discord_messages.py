"""Discord's messages through two gateways: one connection, and nothing lost or out of order whoever dies, and when."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from functools import partial
from typing import Any, cast

import httpx
import pytest

from agentbus.composition.running import embedded
from agentbus.composition.workers import make_gateway
from agentbus.contracts.address import Address, Platform, conversation_id_for
from agentbus.contracts.clock import Clock
from agentbus.contracts.envelope import InputEnvelope
from agentbus.contracts.errors import BrokerUnavailable
from agentbus.contracts.messages import InboundMessage
from agentbus.contracts.records import RecordKind
from agentbus.contracts.topology import Topology
from agentbus.settings import load_settings
from agentbus.storage.memory import MemoryStore
from agentbus.workers.adapters.discord.source import DiscordSource
from agentbus.workers.adapters.factory import accounts_in
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.bus.port import Bus
from agentbus.workers.delivery.inputs import Inputs, Routed
from agentbus.workers.gateway.asking import Asking
from agentbus.workers.gateway.intake import Intake
from tests.harness.patience import PATIENCE
from tests.platforms.discord_gateway import FakeDiscordGateway, message, served
from tests.platforms.model import TOKEN, FakePlatform
from tests.platforms.serving import served as served_over_http

ACCOUNT = {"token": TOKEN, "messages": True, "api": "http://discord.test/api"}
LOCK = "agentbus/asking/discord/mybot"


class Noon(Clock):
    """Before the first message is written."""

    def now(self) -> datetime:
        return datetime(2025, 11, 27, 12, tzinfo=UTC)


class Kept(Inputs):
    """Keeps what is published; fails as often as it is told to."""

    def __init__(self, bus: Bus) -> None:
        super().__init__(bus)
        self.failing = 0
        self.failed = 0
        self.said: dict[str, InboundMessage] = {}

    async def publish(self, left: list[Routed], *, within: float = 0.0) -> None:  # noqa: ARG002 - it is not slow
        if self.failing:
            self.failing -= 1
            self.failed += 1
            raise BrokerUnavailable
        for one in left:
            data = InputEnvelope.from_bytes(one.message.body).data
            assert isinstance(data, InboundMessage)
            self.said.setdefault(one.message.message_id, data)

    def texts(self, chat: str = "8") -> list[str]:
        """Return what is in a chat's session: each once, where it came first."""
        return [one.content.text for one in self.said.values() if one.address.chat == chat]  # type: ignore[union-attr]  # all are texts


class World:
    def __init__(self, discord: FakeDiscordGateway, store: MemoryStore, inputs: Kept) -> None:
        self.discord = discord
        self.store = store
        self.inputs = inputs
        self.all: list[Asking] = []

    async def gateway(self) -> Asking:
        accounts = accounts_in({"discord": {"mybot": ACCOUNT}})
        account: Any = accounts[0].account
        source = DiscordSource("mybot", account, 0, httpx.MockTransport(self.discord.handle))
        intake = Intake(self.inputs, accounts, rate=1)
        one = Asking(intake, "discord", "mybot", source, store=self.store, prefix="agentbus", clock=Noon())
        self.all.append(one)
        return one

    async def begun(self) -> Asking:
        one = await self.gateway()
        await one.start()
        await self.discord.began.wait()
        return one

    async def killed(self, one: Asking) -> None:
        """End one as kill -9 does: it says nothing to anybody, and its lease is over some time later."""
        token = one._token
        await one._loop.close()
        await one._leading.close()
        self.discord.cut()
        assert token is not None
        await self.store.locks.release(LOCK, token)

    async def until(self, so: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not so():
                await asyncio.sleep(0.01)

    def has(self, count: int) -> bool:
        return len(self.inputs.said) >= count

    async def noted(self) -> Any:
        record = await self.store.records.get(RecordKind.ASKED, LOCK)
        return record.data if record else {}


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with served() as discord, MemoryStore() as store, MemoryBus(Topology(partitions=2)) as bus:
        world = World(discord, store, Kept(bus))
        yield world
        for one in world.all:
            await one.close()


async def test_of_two_gateways_one_connects_and_the_other_goes_on_behind_it(world: World) -> None:
    first = await world.begun()
    second = await world.gateway()
    assert not await second._turn()
    world.discord.say(message(1, "a"))
    await world.until(lambda: world.inputs.texts() == ["a"])
    await first.close()
    assert world.discord.most == 1

    world.discord.say(message(2, "b"), message(3, "c"))
    await second.start()
    await world.until(lambda: world.inputs.texts() == ["a", "b", "c"])
    assert (len(world.discord.identified), len(world.discord.resumed), world.discord.most) == (1, 1, 1)


async def test_whoever_has_the_connection_dies_while_people_write(world: World) -> None:
    """Each message is there once and in its order, though some were read and not confirmed, and others came later."""
    one = await world.begun()
    world.discord.say(message(0, "0"), message(1, "p0", channel="55", server=False))
    await world.until(lambda: len(world.inputs.said) == 2)
    for number, forgotten in enumerate((False, True, False), 1):
        world.inputs.failing = 1
        world.discord.say(message(number * 100, f"{number * 10}"), message(number * 100 + 1, f"{number * 10 + 1}"))
        await world.until(lambda: not world.inputs.failing)  # it waits for the broker: nothing of this is confirmed
        await world.killed(one)
        if forgotten:
            world.discord.forget()
        world.discord.say(
            message(number * 100 + 2, f"{number * 10 + 2}"),
            message(number * 100 + 3, f"p{number}", channel="55", server=False),
        )
        one = await world.gateway()
        await one.start()
        await world.until(partial(world.has, 2 + number * 4))

    assert world.inputs.texts() == ["0", *(f"{ten}{digit}" for ten in "123" for digit in "012")]
    assert world.inputs.texts("55") == ["p0", "p1", "p2", "p3"]
    assert len(world.discord.identified) >= 2
    assert world.discord.resumed
    assert world.discord.most == 1


async def test_while_the_broker_is_down_nothing_is_taken_and_then_all_comes(world: World) -> None:
    await world.begun()
    world.inputs.failing = 3
    world.discord.say(*(message(number, f"{number}") for number in range(300)))
    await world.until(lambda: world.inputs.failed == 3)
    world.discord.forget()
    await world.until(lambda: len(world.inputs.said) == 300)
    assert world.inputs.texts() == [f"{number}" for number in range(300)]


async def test_what_is_dispatched_twice_or_late_is_there_once(world: World) -> None:
    await world.begun()
    said = [message(number, f"{number}") for number in range(3)]
    for one in (said[1], said[0], said[1], said[2], said[0]):
        world.discord.dispatch("MESSAGE_CREATE", one)
    await world.until(lambda: len(world.inputs.said) == 3)
    assert world.inputs.texts() == ["1", "0", "2"], "in the order in which they were told first"
    assert json.dumps(await world.noted()).count(TOKEN) == 0


async def test_gateways_as_users_run_them_bring_messages_into_sessions() -> None:
    async with AsyncExitStack() as stack:
        discord = await stack.enter_async_context(served())
        api = await stack.enter_async_context(served_over_http([cast("FakePlatform", discord)]))
        accounts = {"discord": {"mybot": {**ACCOUNT, "api": f"{api}/discord"}}}
        given: Any = {"partitions": 2, "gateway_port": 0, "channels": json.dumps(accounts)}
        app = await stack.enter_async_context(
            embedded(load_settings(amqp_url="memory://", store_url="memory://", **given))
        )
        gateways = [make_gateway(app) for _ in range(2)]
        for one in gateways:
            stack.push_async_callback(one.close)
            await one.start()
        await discord.began.wait()
        discord.say(message(1, "hello"))
        place = Address(platform=Platform.DISCORD, account="mybot", chat="8", user="7")
        where = conversation_id_for(place, scope=app.settings.session.scope)
        async with asyncio.timeout(PATIENCE):
            while not await app.store.log.read(where, limit=1):
                await asyncio.sleep(0.01)
        assert all(one.health().live for one in gateways)
        assert discord.most == 1
