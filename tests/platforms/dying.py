"""A platform accepts a message, and the connection dies: what of the table in docs/replies.md does not hold then.

Workers die on the way as well. The platform is reached as the caller likes: without a server, or over sockets.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from typing import Final

import httpx

from agentbus.contracts.commands import ReportReply
from agentbus.contracts.events import ReplySent
from agentbus.contracts.ids import ConversationId, digest_of
from agentbus.contracts.replies import InDoubt, ReplyId, ReplyOutcome, ReplyState, reply_of_key
from agentbus.workers.adapters.port import Guarantee
from tests.harness.outbound import LEASE, OutboundWorld
from tests.platforms.model import API, FakePlatform

FAULTS: Final = ("died", "died", "died", "after", "odd", "lost", "killed", "error", "busy")
"""What befalls about every second request."""

_TOGETHER: Final = 20
"""Replies that a conversation has."""
_TURNS: Final = 4_000
"""Turns of a worker within which its replies have come to their ends."""


@dataclass
class Told:
    """What was asked for in a conversation, and what became of it by its log."""

    conversation: ConversationId
    texts: dict[ReplyId, str]
    before: int
    """How many messages the platform had before."""
    unknown: set[str] = field(default_factory=set)
    sent: dict[str, ReplySent] = field(default_factory=dict)


async def broken_by(
    platform: FakePlatform, in_doubt: InDoubt, *, deaths: int, client: httpx.AsyncClient, api: str = API, seed: int = 15
) -> list[str]:
    """Have replies sent until so many messages were accepted by a connection that then died; return what did not hold.

    `client` reaches the platform at `api`.
    """
    chance = Random(f"{seed}/{platform.name}/{in_doubt}")
    world = OutboundWorld(
        platform.guarantee, in_doubt, can=platform.can, channel=platform.outbound(client, api), to=platform.address()
    )
    platform.fate.tell(_fates(chance))
    told: list[Told] = []
    while platform.deaths < deaths:
        told.append(await _sent_through(platform, world, len(told)))
    hold = in_doubt is InDoubt.HOLD
    return list(_not_held(platform, told) if hold else _not_marked(platform, told))


def _fates(chance: Random) -> Iterator[str]:
    while True:
        yield chance.choice(FAULTS)
        yield "ok"


async def _sent_through(platform: FakePlatform, world: OutboundWorld, number: int) -> Told:
    """Have replies of a conversation sent, by one worker after the other, until all is known that will be."""
    conversation = ConversationId(digest_of(("dying", str(number))))
    texts = [f"reply {number} {one}" for one in range(_TOGETHER)]
    asked = await world.ask(conversation, *texts)
    told = Told(conversation, dict(zip(asked, texts, strict=True)), len(platform.taken))
    worker = world.worker()
    for _ in range(_TURNS):
        if await world.turn(worker):
            worker = world.worker()
        await _tell(platform, world, told)
        if not await world.is_at_work():
            break
        world.clock.advance(timedelta(seconds=LEASE / 2))
    else:
        raise AssertionError(f"{platform.name}: not settled after {_TURNS} turns")
    open_ones = (await world.state(conversation)).replies
    told.unknown = {told.texts[one.reply_id] for one in open_ones if one.state is ReplyState.UNKNOWN}
    told.sent = {told.texts[event.reply]: event for event in await world.sent(conversation)}
    return told


async def _tell(platform: FakePlatform, world: OutboundWorld, told: Told) -> None:
    """Say what became of the messages that were taken, if the platform does: in a while, and again."""
    for one in platform.taken[told.before :] if platform.tells else ():
        reply = reply_of_key(one.key)
        report = ReportReply(reply=reply, outcome=ReplyOutcome.SENT, message_ids=(one.message_id,))
        await world.give(told.conversation, report, f"status {one.message_id}")


def _not_held(platform: FakePlatform, told: list[Told]) -> Iterator[str]:
    """Say what is not so, where what is in doubt is held: no message is there twice, and none is lost unsaid."""
    there, asked, sent, unknown = _reckoned(platform, told)
    if len(sent) + len(unknown) != len(asked):
        yield f"of {len(asked)} replies {len(sent)} are sent and {len(unknown)} unknown"
    if doubled := [text for text, count in there.items() if count > 1]:
        yield f"twice at the platform: {doubled}"
    if marked := [text for text, event in sent.items() if event.maybe_doubled]:
        yield f"marked, though nothing was sent again: {marked}"
    if missing := sent.keys() - there.keys():
        yield f"sent, and not at the platform: {sorted(missing)}"
    if list(there) != [text for text in asked if text in there]:
        yield "not in the order in which they were asked for"
    if platform.tells and unknown != set(asked) - there.keys():
        yield f"the platform told of what it has, and unknown are {sorted(unknown)}"
    if platform.guarantee is Guarantee.UNKNOWN and not unknown:
        yield "nobody can know, and all seem to be known"
    if not platform.tells and platform.guarantee is not Guarantee.UNKNOWN and (unknown or list(there) != asked):
        yield f"unknown, though it can be known: {sorted(unknown)}"


def _not_marked(platform: FakePlatform, told: list[Told]) -> Iterator[str]:
    """Say what is not so, where what is in doubt is sent again: all is there, and what may be twice is marked."""
    there, asked, sent, unknown = _reckoned(platform, told)
    if list(there) != asked:
        yield f"of {len(asked)} replies {len(there)} are at the platform, or not in their order"
    if len(sent) != len(asked) or unknown:
        yield f"of {len(asked)} replies {len(sent)} are sent and {len(unknown)} unknown"
    doubled = {text for text, count in there.items() if count > 1}
    if unmarked := doubled - {text for text, event in sent.items() if event.maybe_doubled}:
        yield f"twice at the platform, and not marked: {sorted(unmarked)}"
    if bool(doubled) is not (platform.guarantee is Guarantee.UNKNOWN):
        yield f"{len(doubled)} messages are there twice"


def _reckoned(
    platform: FakePlatform, told: list[Told]
) -> tuple[Counter[str], list[str], dict[str, ReplySent], set[str]]:
    """Return what is at the platform, what was asked for, what was sent by the log, and what is unknown by it."""
    there = Counter(platform.texts)
    asked = [text for one in told for text in one.texts.values()]
    sent = {text: event for one in told for text, event in one.sent.items()}
    return there, asked, sent, set().union(*(one.unknown for one in told))
