"""All platforms at once: doubled, repeated late, over two gateways, with a broker that fails now and then."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
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
from tests.platforms import discord, feishu, line, slack, telegram, webhook, whatsapp
from tests.platforms.retries import COMPRESSED, RETRIES
from tests.platforms.samples import SAMPLES, SECRET, WHSEC

CHANNELS: Final = {name: {"bot": sample.account} for name, sample in SAMPLES.items()}
NOON: Final = datetime(2025, 11, 27, 12, tzinfo=UTC)
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
    """What a platform posts, and until it is told that it came."""

    channel: str
    request: Request

    async def through(self, gateways: list[httpx.AsyncClient], chance: Random) -> None:
        """Post it to one of the gateways, again as long as the platform does while none has it."""
        asked = self.request
        for seconds in (0.0, *RETRIES[self.channel]):
            await asyncio.sleep(seconds * COMPRESSED)
            answered = await chance.choice(gateways).request(
                asked.method, f"/channels/{self.channel}/bot", content=asked.body, headers=dict(asked.headers)
            )
            if answered.is_success:
                return
            assert (answered.status_code, answered.headers["retry-after"]) == (503, "5")
        raise AssertionError(f"{self.channel} has given up: what it posted is lost")


def _telegram(user: int, number: int, text: str) -> Request:
    somebody = {"id": user, "first_name": f"u{user}"}
    said = telegram.message(number, text=text, chat={"id": user, "type": "private"}, **{"from": somebody})
    return telegram.posted(SECRET, telegram.update(1000 * user + number, message=said), NOON)


def _slack(user: int, number: int, text: str) -> Request:
    said = slack.message(f"17642448{user:02}.{number:06}", channel=f"D{user}", user=f"U{user}", text=text)
    return slack.posted(SECRET, slack.callback(said, event_id=f"Ev{user}{number}"), NOON)


def _discord(user: int, number: int, text: str) -> Request:
    data = {"name": "say", "options": [{"name": "text", "value": text}]}
    known = str(int(discord.ID) + 1000 * user + number)
    by = {"user": {"id": str(user), "username": "u"}}
    return discord.posted(discord.interaction(2, id=known, channel_id=f"c{user}", member=by, data=data), NOON)


def _whatsapp(user: int, number: int, text: str) -> Request:
    said = {**whatsapp.message("text", f"wamid.{user}.{number}", text={"body": text}), "from": f"49{user}"}
    return whatsapp.posted(SECRET, whatsapp.webhook(messages=[said]), NOON)


def _line(user: int, number: int, text: str) -> Request:
    said = {"id": f"{user}{number:03}", "type": "text", "text": text}
    source = {"type": "user", "userId": f"U{user}"}
    return line.posted(SECRET, [line.event("message", f"ev{user}{number}", message=said, source=source)], NOON)


def _feishu(user: int, number: int, text: str) -> Request:
    said = feishu.message("text", {"text": text}, message_id=f"om_{user}_{number}", chat_id=f"oc_{user}")
    said["event"]["sender"]["sender_id"]["open_id"] = f"ou_{user}"
    return feishu.posted(SECRET, said, NOON)


def _webhook(user: int, number: int, text: str) -> Request:
    said = {"chat": f"c{user}", "user": f"u{user}", "text": text, "message_id": f"{user}-{number}"}
    return webhook.signed(WHSEC, json.dumps(said).encode(), told=f"w{user}-{number}", at=NOON)


MAKERS: Final[dict[str, Callable[[int, int, str], Request]]] = {
    "telegram": _telegram,
    "slack": _slack,
    "discord": _discord,
    "whatsapp": _whatsapp,
    "line": _line,
    "feishu": _feishu,
    "webhook": _webhook,
}


def conversations() -> Iterator[tuple[str, int, int]]:
    """Yield channel, user and how many messages they write."""
    yield "telegram", 9, RECENT_INPUTS + 2
    for channel in MAKERS:
        yield from ((channel, user, COUNT) for user in (1, 2))


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
    assert MAKERS.keys() == CHANNELS.keys() == RETRIES.keys() == set(OURS)
    chance = Random(15)
    settings = load_settings(amqp_url="memory://", store_url="memory://", partitions=4)
    async with embedded(settings) as app, asyncio.timeout(PATIENCE):
        inputs = Failing(app.bus, chance)
        async with two_gateways(app, inputs) as gateways:
            wanted: list[list[str]] = []
            everything: list[Posted] = []

            async def write(channel: str, user: int, count: int) -> None:
                texts = [f"{channel} {user} {number}" for number in range(count)]
                wanted.append(texts)
                for number, text in enumerate(texts):
                    posted = Posted(channel, MAKERS[channel](user, number, text))
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
