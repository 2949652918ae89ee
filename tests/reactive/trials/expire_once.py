"""Every session expires exactly once although expiry workers are killed and every event comes up to 3 times."""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

from agentbus.client import AgentBus
from agentbus.contracts.address import Address, Platform, conversation_id_for
from agentbus.contracts.clock import SystemClock
from agentbus.contracts.expiry import CleanupAction, Conditions, ExpiryRule, ExpiryStrategy, Step
from agentbus.contracts.ids import ConversationId
from agentbus.contracts.records import RecordKind
from agentbus.contracts.session import SessionStatus
from agentbus.storage.archive import open_archive
from agentbus.workers.expiry.rules import ExpiryRules
from agentbus.workers.expiry.watch.handler import TOPICS
from agentbus.workers.expiry.worker import EVENTS_QUEUE
from tests.reactive.inside import DETOUR
from tests.reactive.inside.failpoints import Failpoint
from tests.reactive.system.begun import SCOPE, a_message, states_of
from tests.reactive.system.crew import Dying
from tests.reactive.system.detour import Detour
from tests.reactive.system.stage import Stage, archive_url
from tests.reactive.trial import Result, Trial, spread
from tests.reactive.trials.lives import Life, lives

IDLE: Final = 2.0
"""Seconds without activity after which sessions of two platforms end."""
AGE: Final = 4.0
"""Seconds after which those of the third end, whatever happens."""
WARNED: Final = 1.0
"""Seconds that a warning comes before."""
LATER: Final = 1.0
"""Seconds from the end to the archive, where these are two steps."""

RULES: Final = (
    ExpiryRule(
        rule_id="idle-archive",
        strategy=ExpiryStrategy.ACTIVITY,
        conditions=Conditions(idle_for=IDLE, platforms=(Platform.TELEGRAM,)),
        actions=(Step(action=CleanupAction.ARCHIVE),),
    ),
    ExpiryRule(
        rule_id="age-expire",
        strategy=ExpiryStrategy.TIME,
        conditions=Conditions(max_age=AGE, platforms=(Platform.SLACK,)),
        actions=(Step(action=CleanupAction.EXPIRE),),
    ),
    ExpiryRule(
        rule_id="idle-steps",
        strategy=ExpiryStrategy.ACTIVITY,
        conditions=Conditions(idle_for=IDLE, platforms=(Platform.DISCORD,)),
        warn_before=WARNED,
        actions=(Step(action=CleanupAction.EXPIRE), Step(action=CleanupAction.ARCHIVE, after=LATER)),
    ),
)

_PLATFORMS: Final = (Platform.TELEGRAM, Platform.SLACK, Platform.DISCORD)
_RECOVERY: Final = 15.0
"""Seconds after a restart in which a kill still explains lateness: until the dead one is taken for dead, and what it
had under way is tried again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much of it."""

    chats: int
    seconds: float
    """For which messages come."""
    kill_every: float
    """Mean seconds between kills."""
    moves_again: float | None = None
    """Seconds after which an unfinished move to the archive is looked at again; None: as workers do by themselves."""
    patience: float = 300.0
    late: float = 5.0
    """Seconds that a session may be late without a kill."""


async def run(stage: Stage, size: Size, result: Result) -> None:
    """Let chats talk and fall silent while workers die; then read what became of every session."""
    rules = ExpiryRules(stage.store, SystemClock())
    for rule in RULES:
        await rules.add(rule)
    if size.moves_again is not None:
        stage.crew.env["REACTIVE_MOVES_AGAIN"] = str(size.moves_again)
    await stage.crew.start(2)
    await stage.crew.start(2, kind="expiry", env=DETOUR)
    addresses = [
        Address(platform=_PLATFORMS[number % 3], chat=f"chat-{number}", user=f"user-{number}")
        for number in range(size.chats)
    ]
    conversations = [conversation_id_for(address, SCOPE) for address in addresses]
    detour = Detour(stage.backends.amqp_url, stage.topology, EVENTS_QUEUE, TOPICS, stage.random)
    dying = Dying(kind="expiry", points=tuple(Failpoint), every=size.kill_every, env=DETOUR)
    async with detour:
        async with stage.crew.dying(dying, stage.random):
            sent = sum(await asyncio.gather(*(_talk(stage, address, size.seconds) for address in addresses)))
            await asyncio.sleep(AGE)
        stage.say(f"{sent} messages sent, {len(stage.crew.kills)} kills; waiting for rest")
        rest = await stage.settled(partial(_all_over, stage, conversations), detour.queues, patience=size.patience)
    found = await lives(stage.store, open_archive(archive_url(stage.folder)), conversations)
    for life in found:
        result.problems += life.wrong()
    lateness = [late for life in found if (late := _lateness(life)) is not None]
    unexplained = [late.seconds - stage.crew.explained(late.due, late.at, _RECOVERY) for late in lateness]
    messages = sum(life.messages for life in found)
    result.figures |= {
        "sessions": len(found),
        "archived": sum(life.archives for life in found),
        "messages": sent,
        "kills": len(stage.crew.kills),
        **{f"killed_{place}": count for place, count in stage.crew.died_at().items()},
        "events": detour.events,
        "deliveries": detour.copies,
        **spread("late", [late.seconds for late in lateness]),
        **spread("late_unexplained", [max(0.0, seconds) for seconds in unexplained]),
    }
    result.expect(rest, "the system did not come to rest")
    result.expect(messages == sent, f"{messages} of {sent} messages are in the sessions")
    result.expect(bool(stage.crew.kills), "no worker was killed")
    result.expect(
        max(unexplained, default=0.0) <= size.late, f"{max(unexplained, default=0):.1f} s late without a kill"
    )
    early = min((late.seconds for late in lateness), default=0.0)
    result.expect(early >= 0.0, f"a session expired {-early:.3f} s early")


@dataclass(frozen=True, slots=True)
class _Late:
    due: float
    at: float

    @property
    def seconds(self) -> float:
        return self.at - self.due


def _lateness(life: Life) -> _Late | None:
    """Return when a session was due and when it ended, in seconds since 1970."""
    if life.ended_at is None:
        return None
    if life.platform is Platform.SLACK:
        due = life.began_at + AGE
    else:
        due = life.active_at + IDLE
        if life.warned_at is not None:
            due = max(due, life.warned_at + WARNED)
    return _Late(due, life.ended_at)


async def _talk(stage: Stage, address: Address, seconds: float) -> int:
    """Send a few messages at random moments; some come to a session that has ended by then."""
    client = AgentBus(stage.bus)
    count = stage.random.randint(1, 4)
    waits = [stage.random.uniform(0, seconds / count) for _ in range(count)]
    for number, wait in enumerate(waits):
        await asyncio.sleep(wait)
        await client.publish(a_message(address, f"message-{number}", datetime.now(UTC)))
    return count


async def _all_over(stage: Stage, conversations: Collection[ConversationId]) -> bool:
    # A move to the archive that was cut short leaves its deadline, at which somebody finishes it.
    if await stage.store.records.due(RecordKind.DEADLINE, datetime.now(UTC) + timedelta(days=1), groups=None, limit=1):
        return False
    states = await states_of(stage.store, conversations)
    return all(
        state.status
        is (
            SessionStatus.EXPIRED
            if state.address and state.address.platform is Platform.SLACK
            else SessionStatus.ARCHIVED
        )
        for state in states.values()
    )


TRIAL: Final = Trial(
    "expire_once",
    run,
    full=Size(chats=600, seconds=180, kill_every=5),
    quick=Size(chats=30, seconds=12, kill_every=3, moves_again=6, patience=90),
)
