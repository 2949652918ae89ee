"""All platforms at once: doubled, repeated late, over two gateways, with a broker that fails now and then."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from random import Random
from typing import Final

import httpx

from agentbus.composition.app import App
from agentbus.composition.running import embedded
from agentbus.contracts.clock import Clock
from agentbus.contracts.errors import BrokerUnavailable
from agentbus.contracts.history import SessionFilter
from agentbus.contracts.messages import as_line
from agentbus.contracts.session import RECENT_INPUTS
from agentbus.settings import load_settings
from agentbus.storage.history import iter_history
from agentbus.workers.adapters.factory import OURS, accounts_in
from agentbus.workers.adapters.port import Request
from agentbus.workers.bus.port import Bus
from agentbus.workers.delivery.inputs import Inputs, Routed
from agentbus.workers.gateway.app import Gateway
from agentbus.workers.gateway.intake import Intake
from tests.harness.patience import PATIENCE
from tests.platforms.catalog import POSTING
from tests.platforms.model import FakePlatform, Said
from tests.platforms.retries import RETRIES, compressed, tried_again

CHANNELS: Final = {platform.name: {"bot": platform.account()} for platform in (kind() for kind in POSTING)}
NOON: Final = datetime(2025, 11, 27, 12, tzinfo=UTC)
_NO_TIME: Final = 0.01
_FAILING: Final = 0.2
_IN_A_ROW: Final = 2
COUNT: Final = 4
"""Messages of each person on each platform, besides those of one who writes more than a head remembers."""


class Noon(Clock):
    def now(self) -> datetime:
        return NOON


class Failing(Inputs):
    """A broker that fails now and then: before it has what is published, or after; twice in a row for a message."""

    def __init__(self, bus: Bus, chance: Random) -> None:
        super().__init__(bus)
        self._chance = chance
        self._failed: Counter[str] = Counter()
        self.given = 0

    async def publish(self, left: list[Routed], *, within: float = 0.0) -> None:
        self._perhaps_fail(left)
        self.given += len(left)
        given = list(left)
        await super().publish(left, within=within)
        self._perhaps_fail(given)

    def _perhaps_fail(self, given: list[Routed]) -> None:
        known = given[0].message.message_id
        sent_once = b'"/channels/discord' in given[0].message.body
        if sent_once or self._failed[known] == _IN_A_ROW or self._chance.random() > _FAILING:
            return
        self._failed[known] += 1
        raise BrokerUnavailable


@dataclass(frozen=True)
class Posted:
    """What somebody says on a platform, which posts it until it is told that it came."""

    platform: FakePlatform
    said: Said

    async def through(self, gateways: list[httpx.AsyncClient], chance: Random) -> None:
        """Post it to one of the gateways, again as long as the platform does while none has it."""

        async def post(asked: Request) -> bool:
            answered = await chance.choice(gateways).request(
                asked.method, f"/channels/{self.platform.name}/bot", content=asked.body, headers=dict(asked.headers)
            )
            if not answered.is_success:
                assert (answered.status_code, answered.headers["retry-after"]) == (503, "5")
            return answered.is_success

        asked = (self.platform.posting(self.said, NOON, again) for again in count())
        taken = await tried_again(asked, post, compressed(self.platform.name, within=_NO_TIME))
        assert taken, f"{self.platform.name} has given up: what it posted is lost"


def conversations() -> Iterator[tuple[FakePlatform, int, int]]:
    """Yield the platform, the user and how many messages they write."""
    platforms = [kind() for kind in POSTING]
    yield platforms[0], 9, RECENT_INPUTS + 2
    for platform in platforms:
        yield from ((platform, user, COUNT) for user in (1, 2))


@asynccontextmanager
async def two_gateways(app: App, inputs: Inputs) -> AsyncIterator[list[httpx.AsyncClient]]:
    async with AsyncExitStack() as stack:
        clients = []
        for _ in range(2):
            intake = Intake(inputs, accounts_in(CHANNELS), rate=1e6, metrics=app.metrics)
            gateway = Gateway(intake, clock=Noon(), max_body=100_000, metrics=app.metrics)
            client = httpx.AsyncClient(transport=httpx.ASGITransport(gateway.app), base_url="http://gateway")
            clients.append(await stack.enter_async_context(client))
        yield clients


async def test_every_message_is_once_in_its_session_in_its_order_however_often_it_comes() -> None:
    assert {kind().name for kind in POSTING} == CHANNELS.keys() == RETRIES.keys() == set(OURS)
    chance = Random(15)
    settings = load_settings(amqp_url="memory://", store_url="memory://", partitions=4)
    async with embedded(settings) as app, asyncio.timeout(PATIENCE):
        inputs = Failing(app.bus, chance)
        async with two_gateways(app, inputs) as gateways:
            wanted: list[list[str]] = []
            everything: list[Posted] = []

            async def write(platform: FakePlatform, user: int, many: int) -> None:
                texts = [f"{platform.name} {user} {number}" for number in range(many)]
                wanted.append(texts)
                for number, text in enumerate(texts):
                    posted = Posted(platform, Said(user, number, text))
                    everything.append(posted)
                    await posted.through(gateways, chance)
                    if chance.random() < 0.5:
                        await posted.through(gateways, chance)

            await asyncio.gather(*(write(*conversation) for conversation in conversations()))
            chance.shuffle(everything)
            for late in everything:
                await late.through(gateways, chance)
        handled = {
            outcome: app.metrics.inputs.labels(outcome)._value for outcome in ("committed", "repeated", "parked")
        }
        while sum(one.get() for one in handled.values()) < inputs.given:
            await asyncio.sleep(0.01)

        assert handled["parked"].get() == 0
        assert handled["committed"].get() == sum(map(len, wanted)) == len(everything)
        assert await _kept(app) == sorted(wanted)


async def _kept(app: App) -> list[list[str]]:
    """Return what is in each session, in its order."""
    heads = (await app.store.heads.page(SessionFilter(), limit=100)).items
    found = []
    for head in heads:
        said = [as_line(one.message.content) async for one in iter_history(app.store, head)]
        found.append([text.removeprefix("/say ") for text in said])
    return sorted(found)
