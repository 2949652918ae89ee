"""How many sessions a second expire when very many are due within one minute, how late, and how chat fares then."""

import asyncio
import itertools
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from pydantic import JsonValue

from agentbus.client import AgentBus
from agentbus.contracts.address import Address, Platform
from agentbus.contracts.clock import SystemClock
from agentbus.contracts.envelope import EventEnvelope
from agentbus.contracts.events import AnyEvent, Commit, SessionArchived, StateChanged
from agentbus.contracts.expiry import CleanupAction, Conditions, ExpiryRule, ExpiryStrategy, Step
from agentbus.contracts.history import SessionFilter
from agentbus.contracts.ids import ConversationId, InputId
from agentbus.contracts.session import SessionStatus
from agentbus.workers.concurrency import ended
from agentbus.workers.expiry.rules import ExpiryRules
from agentbus.workers.expiry.worker import EVENTS_QUEUE
from tests.harness.patience import PATIENCE
from tests.harness.usage import cpu_seconds, family
from tests.reactive.system.begun import (
    Begun,
    a_message,
    announce_begun,
    begun,
    in_parts,
    logs_of,
    write_begun,
)
from tests.reactive.system.stage import Stage
from tests.reactive.trial import Result, Trial, spread
from tests.services import LocalMongoDB, LocalRabbitMQ

_AGE: Final = 3600.0
"""Seconds that a session may grow old: all of them have begun before the trial did."""
_TRIED: Final = 500
"""Sessions by which the time is measured that it takes to write and look at all of them."""
_PART: Final = 1000
_POLL: Final = 0.5
_RULES: Final = 2.5
"""Seconds after which the expiry worker has the new rule, and has looked at the sessions for it."""
_BEFORE: Final = 1.0
"""Seconds before the first session is due from which on it is measured."""
_CHATTING: Final = 64
"""Conversations of the chat."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much of it."""

    sessions: int
    """That expire."""
    archived: int
    """That expire after them, and are moved to the archive."""
    window: float = 60.0
    """Seconds over which those that expire are due; those that are moved, in as many as they are fewer."""
    chat: float = 20.0
    """Messages a second to other conversations meanwhile."""
    patience: float = 900.0
    """Seconds after the last is due."""


@dataclass(frozen=True, slots=True)
class Wave:
    """Sessions that are due one after the other, and what becomes of them."""

    name: str
    platform: Platform
    """They alone are of it."""
    action: CleanupAction
    end: SessionStatus
    ended: Callable[[AnyEvent], bool]
    """Whether an event is the last one that a session is to have."""


EXPIRED: Final = Wave(
    "expired",
    Platform.TELEGRAM,
    CleanupAction.EXPIRE,
    SessionStatus.EXPIRED,
    lambda event: isinstance(event, StateChanged) and event.status is SessionStatus.EXPIRED,
)
ARCHIVED: Final = Wave(
    "archived",
    Platform.SLACK,
    CleanupAction.ARCHIVE,
    SessionStatus.ARCHIVED,
    lambda event: isinstance(event, SessionArchived),
)


async def run(stage: Stage, size: Size, result: Result) -> None:
    """Have sessions expire while others chat; then have some moved to the archive as well."""
    await stage.crew.start(1)
    await stage.crew.start(1, kind="expiry")
    await _pass(stage, size, EXPIRED, result)
    shorter = replace(size, sessions=size.archived, window=size.window * size.archived / size.sessions)
    await _pass(stage, shorter, ARCHIVED, result)


async def _pass(stage: Stage, size: Size, wave: Wave, result: Result) -> None:
    """Write a wave's sessions and announce them, as their owners would have; then wait for their end."""
    rule = ExpiryRule(
        rule_id=wave.name,
        strategy=ExpiryStrategy.TIME,
        conditions=Conditions(max_age=_AGE, platforms=(wave.platform,)),
        actions=(Step(action=wave.action),),
    )
    await ExpiryRules(stage.store, SystemClock()).add(rule)
    await asyncio.sleep(_RULES)
    first_due = time.time() + await _lead(stage, size, wave)
    due: dict[ConversationId, float] = {}
    for number, part in enumerate(_parts(size, wave, first_due)):
        await write_begun(stage.store, part)
        await announce_begun(stage.bus, part)
        due |= {one.conversation: _began(one) + _AGE for one in part}
        if number % 10 == 9:
            stage.say(f"{len(due)} of {size.sessions} sessions written")
    spare = await _indexed(stage, first_due)
    stage.say(f"all sessions written and looked at, {spare:.0f} s before the first is due")
    await asyncio.sleep(max(0.0, spare - _BEFORE))
    chat, used = Chat(stage, size.chat), _used(stage)
    async with chat.going_on():
        rest = await _all_ended(stage, size, wave, first_due + size.window + size.patience)
    used = {name: seconds - used[name] for name, seconds in _used(stage).items()}
    moments_of = await _moments_in(stage, wave, list(due))
    late = [at - due[conversation] for conversation, times in moments_of.items() for at in times[:1]]
    missing = [conversation for conversation, times in moments_of.items() if not times]
    twice = [conversation for conversation, times in moments_of.items() if len(times) > 1]
    moments = sorted(times[0] for times in moments_of.values() if times)
    seconds = Counter(int(at) for at in moments)
    figures: dict[str, JsonValue] = {
        "sessions": size.sessions,
        "window_s": round(size.window, 1),
        "spare_before_due_s": round(spare, 1),
        "ended": len(moments),
        "per_s": round(len(moments) / max(0.001, moments[-1] - first_due), 1) if moments else 0.0,
        "best_second": max(seconds.values(), default=0),
        **spread("late", late),
        "cpu_ms_each": {name: round(1000 * one / size.sessions, 3) for name, one in used.items()},
        "load": round(os.getloadavg()[0], 1),
        "chat_messages": len(chat.published),
        **spread("chat", chat.times),
        "lost": len(missing),
        "twice": len(twice),
    }
    result.figures |= {f"{wave.name}_{name}": value for name, value in figures.items()}
    result.expect(rest, f"{wave.name}: not all sessions in time")
    result.expect(not missing, f"{wave.name}: {len(missing)} sessions were not: {missing[:3]}")
    result.expect(not twice, f"{wave.name}: {len(twice)} sessions more than once: {twice[:3]}")
    result.expect(min(late, default=0.0) >= 0.0, f"{wave.name}: a session {-min(late, default=0.0):.3f} s early")
    result.expect(len(chat.times) == len(chat.published), f"{wave.name}: messages of the chat did not come by")


class Chat:
    """Messages at a steady rate to conversations that have nothing to do with it, and how long each took."""

    def __init__(self, stage: Stage, rate: float) -> None:
        self._stage = stage
        self._rate = rate
        self.published: dict[InputId, float] = {}
        self._heard: dict[InputId, float] = {}

    @property
    def times(self) -> list[float]:
        """Seconds from before each message was published until its event came."""
        return [at - self.published[one] for one, at in self._heard.items() if one in self.published]

    @asynccontextmanager
    async def going_on(self) -> AsyncIterator[None]:
        """Publish while the body runs, and wait for the last."""
        client = AgentBus(self._stage.bus)
        client.on(f"session.message.{Platform.WEB}")(self._hear)
        await client.start()
        talking = asyncio.create_task(self._talk(client))
        try:
            yield
            await ended({talking})
            async with asyncio.timeout(PATIENCE):
                while len(self.times) < len(self.published):
                    await asyncio.sleep(_POLL)
        finally:
            await ended({talking})
            await client.close()

    async def _talk(self, client: AgentBus) -> None:
        begun = time.monotonic()
        for number in itertools.count():
            await asyncio.sleep(begun + number / self._rate - time.monotonic())
            address = Address(platform=Platform.WEB, chat="chat", user=f"user-{number % _CHATTING}")
            message = a_message(address, str(time.time_ns()), datetime.now(UTC))
            self.published[message.input_id()] = time.monotonic()
            await client.publish(message)

    async def _hear(self, event: EventEnvelope) -> None:
        self._heard.setdefault(event.data.cause, time.monotonic())


def _used(stage: Stage) -> dict[str, float]:
    """Return the processor time that each process used, in seconds."""
    processes = {worker.kind: [worker.pid] for worker in stage.crew.running} | {"trial": [os.getpid()]}
    for name, server in (("broker", stage.backends.broker), ("store", stage.backends.store)):
        if isinstance(server, LocalRabbitMQ | LocalMongoDB):
            processes[name] = family(server.pid)
    return {name: cpu_seconds(pids) for name, pids in processes.items()}


async def _lead(stage: Stage, size: Size, wave: Wave) -> float:
    """Return how long before the first session is due one should begin to write them, for all to be looked at then."""
    some = [_session(wave, -number, time.time()) for number in range(1, min(_TRIED, size.sessions) + 1)]
    started = time.monotonic()
    await write_begun(stage.store, some)
    await announce_begun(stage.bus, some)
    await _indexed(stage, 0.0)
    return 5.0 + 1.3 * size.sessions / len(some) * (time.monotonic() - started)


def _parts(size: Size, wave: Wave, first_due: float) -> Iterator[list[Begun]]:
    for numbers in in_parts(range(size.sessions), _PART):
        yield [_session(wave, number, first_due - _AGE + size.window * number / size.sessions) for number in numbers]


def _session(wave: Wave, number: int, at: float) -> Begun:
    address = Address(platform=wave.platform, chat="rate", user=f"user-{number}")
    moment = datetime.fromtimestamp(at, UTC)
    return begun(address, moment - timedelta(microseconds=moment.microsecond % 1000))


def _began(one: Begun) -> float:
    assert one.head.created_at
    return one.head.created_at.timestamp()


async def _indexed(stage: Stage, until: float) -> float:
    """Wait until the expiry worker has taken all events in hand; return how long before `until` that was."""
    queue = stage.topology.subscription_queue(EVENTS_QUEUE)
    while (await stage.bus.depth(queue)).ready:
        await asyncio.sleep(_POLL)
    return until - time.time()


async def _all_ended(stage: Stage, size: Size, wave: Wave, deadline: float) -> bool:
    told = 0
    while time.time() < deadline:
        figures = await stage.store.heads.statistics(SessionFilter(platform=wave.platform))
        there = figures.by_status.get(wave.end, 0)
        if there >= size.sessions:
            return True
        if there - told >= size.sessions / 10:
            stage.say(f"{there} of {size.sessions} sessions {wave.name}")
            told = there
        await asyncio.sleep(_POLL)
    return False


async def _moments_in(
    stage: Stage, wave: Wave, conversations: list[ConversationId]
) -> dict[ConversationId, list[float]]:
    """Return when each conversation's session came to its end; more than one moment: it did so more than once."""
    found: dict[ConversationId, list[float]] = {}
    for part in in_parts(conversations, _PART):
        logs = await logs_of(stage.store, part)
        found |= {conversation: _moments(wave, log) for conversation, log in logs.items()}
    return found


def _moments(wave: Wave, log: list[Commit]) -> list[float]:
    return [event.at.timestamp() for commit in log for event in commit.events if wave.ended(event)]


TRIAL: Final = Trial(
    "rate",
    run,
    full=Size(sessions=100_000, archived=5_000),
    quick=Size(sessions=2000, archived=200, window=10, patience=60),
    record=False,
)
