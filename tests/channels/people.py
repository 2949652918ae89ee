"""The people, the bot, and the wait until each message has its place: whatever runs AgentBus."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Final

from agentbus.client import AgentBus
from agentbus.contracts.replies import InDoubt
from agentbus.contracts.topology import Topology
from agentbus.storage.port import Store
from tests.channels.bot import Bot
from tests.channels.crowd import Crowd
from tests.channels.postman import Postman
from tests.channels.reckoning import Reckoning, listed, read, reckon
from tests.channels.windows import windows
from tests.platforms.catalog import POSTING
from tests.platforms.model import FakePlatform

_BUSY: Final = 1
"""Seconds for which platforms ask to be left alone."""
_LOOK: Final = 0.2
_IDLE: Final = 3
"""So many times as long as a look takes is waited before the next one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much there is, and how bad it gets."""

    people: int
    """On each platform."""
    each: int
    """Messages that each of them writes."""
    seed: str
    fates: tuple[str, ...] = ("died", "died", "odd", "error", "lost", "busy")
    """What befalls some sends, each as often as another."""
    befallen: float = 0.02
    """The share of sends that something befalls."""
    in_doubt: InDoubt = InDoubt.HOLD
    """What is done about an answer of which nobody knows whether it is there."""
    outage: float = 20.0
    """Seconds for which the broker is down."""
    partitions: int = 16
    ahead: int = 200
    """Messages that are taken and not answered yet, at most."""
    still: float = 300.0
    """Seconds without any change after which what is left is left for good: more than any worker waits."""
    hurried: bool = True
    """Whether platforms wait for an answer only as long as they do."""
    impatient: bool = False
    """Whether platforms are asked sooner what became of a message."""

    @property
    def within(self) -> float:
        """The seconds to which the hours are compressed for which platforms post again."""
        return 3 * self.outage


def fated(plan: Plan) -> list[FakePlatform]:
    """Return all platforms, with what befalls what is sent to them."""
    platforms = [kind(busy_for=_BUSY) for kind in POSTING]
    for one in platforms:
        one.fate.tell(_fates(Random(f"{plan.seed}/{one.name}"), plan))
    return platforms


def _fates(chance: Random, plan: Plan) -> Iterator[str]:
    while True:
        yield chance.choice(plan.fates) if chance.random() < plan.befallen else "ok"


@asynccontextmanager
async def people(
    platforms: Sequence[FakePlatform], gateways: Sequence[str], client: AgentBus, plan: Plan
) -> AsyncIterator[tuple[Crowd, Postman, Bot]]:
    """Start the bot and open the windows; yield the people, who have not begun to write."""
    bot = Bot(client)
    await bot.start()
    postman = Postman(gateways, Random(f"{plan.seed}/gateways"), within=plan.within, hurried=plan.hurried)
    crowd = Crowd(
        platforms,
        postman,
        people=plan.people,
        each=plan.each,
        seed=plan.seed,
        answered=lambda: len(bot.answered),
        ahead=plan.ahead,
    )
    async with AsyncExitStack() as stack:
        stack.push_async_callback(postman.close)
        await stack.enter_async_context(windows(platforms, gateways, people=plan.people, seed=plan.seed))
        yield crowd, postman, bot


async def settled(store: Store, topology: Topology, crowd: Crowd, plan: Plan) -> Reckoning:
    """Reckon again and again, until everything has its place, or nothing has changed for long."""
    letters = list(crowd.letters)
    latest: tuple[int, ...] | None = None
    changed = time.monotonic()
    while True:
        begun = time.monotonic()
        found = reckon(letters, await read(store), await listed(store, topology))
        left = found.waiting, found.total["lost"], found.total["replies_lost"]
        if left != latest:
            latest, changed = left, time.monotonic()
        if not any(left) or time.monotonic() - changed > plan.still:
            return found
        await asyncio.sleep(max(_LOOK, _IDLE * (time.monotonic() - begun)))
