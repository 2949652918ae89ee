"""A platform accepts a message, and the connection dies: what the table in docs/replies.md says holds, to the letter.

`SENDS` says how many replies each platform gets (200 by hand); about every second one meets a fault.
"""

import os
import random
from collections import Counter
from datetime import timedelta
from typing import Final

import pytest

from agentbus.contracts.commands import ReportReply
from agentbus.contracts.replies import InDoubt, ReplyOutcome, ReplyState, reply_of_key
from agentbus.workers.adapters.port import Guarantee
from tests.harness.conversations import CONVERSATION
from tests.harness.outbound import LEASE, OutboundWorld
from tests.platforms.catalog import PLATFORMS
from tests.platforms.model import FakePlatform
from tests.platforms.whatsapp import FakeWhatsApp

SENDS: Final = int(os.environ.get("SENDS", "20"))
FAULTS: Final = ("died", "died", "died", "after", "odd", "lost", "killed", "error", "busy")

each = pytest.mark.parametrize("kind", PLATFORMS, ids=lambda kind: kind.__name__.removeprefix("Fake").lower())


async def sent_through(platform: FakePlatform, in_doubt: InDoubt) -> OutboundWorld:
    """Have replies sent by a platform that fails at every second request or so, and workers that are killed."""
    chance = random.Random(SENDS)
    async with platform.client() as client:
        world = OutboundWorld(
            platform.guarantee, in_doubt, can=platform.can, channel=platform.outbound(client), to=platform.address()
        )
        platform.fate.tell(fate for _ in range(SENDS) for fate in (chance.choice(FAULTS), "ok"))
        await world.ask(CONVERSATION, *(f"reply {number}" for number in range(min(SENDS, 100))))
        worker = world.worker()
        for _ in range(100 * SENDS):
            if await world.turn(worker):
                worker = world.worker()
            if isinstance(platform, FakeWhatsApp):
                await tell_statuses(platform, world)
            if not await world.is_at_work():
                break
            world.clock.advance(timedelta(seconds=LEASE / 2))
        assert not await world.is_at_work()
    return world


async def tell_statuses(platform: FakeWhatsApp, world: OutboundWorld) -> None:
    """Say what became of the messages that were taken, as the platform's webhook does, in a while, and again."""
    for one in platform.taken:
        reply = reply_of_key(one.key)
        report = ReportReply(reply=reply, outcome=ReplyOutcome.SENT, message_ids=(f"wamid.{one.message_id}",))
        await world.give(CONVERSATION, report, f"status {one.message_id}")


@each
async def test_held_no_message_is_there_twice_and_none_is_lost_unsaid(kind: type[FakePlatform]) -> None:
    platform = kind()
    world = await sent_through(platform, InDoubt.HOLD)
    there = Counter(one.text for one in platform.taken)
    unknown = [one for one in (await world.state(CONVERSATION)).replies if one.state is ReplyState.UNKNOWN]
    sent = await world.sent(CONVERSATION)
    asked = min(SENDS, 100)
    assert len(sent) + len(unknown) == asked
    assert set(there.values()) == {1}
    assert not any(event.maybe_doubled for event in sent)
    everything = [f"reply {number}" for number in range(asked)]
    assert list(there) == [text for text in everything if text in there]
    if isinstance(platform, FakeWhatsApp):
        assert len(unknown) == asked - len(there)  # of what it never took it tells nothing
    elif platform.guarantee is Guarantee.UNKNOWN:
        assert unknown
        assert len(there) >= len(sent)
    else:
        assert not unknown
        assert list(there) == everything


@each
async def test_sent_again_every_message_is_there_and_marked_where_it_may_be_twice(kind: type[FakePlatform]) -> None:
    platform = kind()
    world = await sent_through(platform, InDoubt.RESEND)
    there = Counter(one.text for one in platform.taken)
    sent = await world.sent(CONVERSATION)
    assert list(there) == [f"reply {number}" for number in range(min(SENDS, 100))]
    assert len(sent) == len(there)
    texts = {event.reply: f"reply {number}" for number, event in enumerate(sorted(sent, key=_place))}
    doubled = {text for text, count in there.items() if count > 1}
    assert doubled <= {texts[event.reply] for event in sent if event.maybe_doubled}
    assert bool(doubled) is (platform.guarantee is Guarantee.UNKNOWN)


def _place(event: object) -> int:
    return int(str(getattr(event, "reply", "/0")).rpartition("/")[2])
