"""How many sessions a second expire when very many are due within one minute, and how late."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from agentbus.contracts.address import Address, Platform
from agentbus.contracts.clock import SystemClock
from agentbus.contracts.events import Commit, StateChanged
from agentbus.contracts.expiry import CleanupAction, Conditions, ExpiryRule, ExpiryStrategy, Step
from agentbus.contracts.history import SessionFilter
from agentbus.contracts.ids import ConversationId
from agentbus.contracts.session import SessionStatus
from agentbus.workers.expiry.rules import ExpiryRules
from agentbus.workers.expiry.worker import EVENTS_QUEUE
from tests.reactive.system.begun import Begun, announce_begun, begun, in_parts, logs_of, write_begun
from tests.reactive.system.stage import Stage
from tests.reactive.trial import Result, Trial, spread

_AGE: Final = 3600.0
"""Seconds that a session may grow old: all of them have begun before the trial did."""
_TRIED: Final = 500
"""Sessions by which the time is measured that it takes to write and look at all of them."""
_PART: Final = 1000
_POLL: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much of it."""

    sessions: int
    window: float = 60.0
    """Seconds over which they are due."""
    patience: float = 900.0
    """Seconds after the last is due."""


async def run(stage: Stage, size: Size, result: Result) -> None:
    """Write the sessions and announce them, as their owners would have; then wait for their end."""
    rule = ExpiryRule(
        rule_id="old",
        strategy=ExpiryStrategy.TIME,
        conditions=Conditions(max_age=_AGE),
        actions=(Step(action=CleanupAction.EXPIRE),),
    )
    await ExpiryRules(stage.store, SystemClock()).add(rule)
    await stage.crew.start(1)
    await stage.crew.start(1, kind="expiry")
    first_due = time.time() + await _lead(stage, size)
    due: dict[ConversationId, float] = {}
    for number, part in enumerate(_parts(size, first_due)):
        await write_begun(stage.store, part)
        await announce_begun(stage.bus, part)
        due |= {one.conversation: _began(one) + _AGE for one in part}
        if number % 10 == 9:
            stage.say(f"{len(due)} of {size.sessions} sessions written")
    spare = await _indexed(stage, first_due)
    stage.say(f"all sessions written and looked at, {spare:.0f} s before the first is due")
    rest = await _all_expired(stage, size, first_due + size.window + size.patience)
    ended = await _ended(stage, list(due))
    late = [at - due[conversation] for conversation, times in ended.items() for at in times[:1]]
    missing = [conversation for conversation, times in ended.items() if not times]
    twice = [conversation for conversation, times in ended.items() if len(times) > 1]
    moments = sorted(times[0] for times in ended.values() if times)
    seconds = Counter(int(at) for at in moments)
    result.figures |= {
        "sessions": size.sessions,
        "window_s": size.window,
        "spare_before_due_s": round(spare, 1),
        "expired": len(moments),
        "expiries_per_s": round(len(moments) / max(0.001, moments[-1] - first_due), 1) if moments else 0.0,
        "best_second": max(seconds.values(), default=0),
        **spread("late", late),
        "lost": len(missing),
        "twice": len(twice),
    }
    result.expect(rest, "not all sessions expired in time")
    result.expect(not missing, f"{len(missing)} sessions did not expire: {missing[:3]}")
    result.expect(not twice, f"{len(twice)} sessions expired more than once: {twice[:3]}")
    result.expect(min(late, default=0.0) >= 0.0, f"a session expired {-min(late, default=0.0):.3f} s early")


async def _lead(stage: Stage, size: Size) -> float:
    """Return how long before the first session is due one should begin to write them, for all to be looked at then."""
    some = [_session(-number, time.time()) for number in range(1, min(_TRIED, size.sessions) + 1)]
    started = time.monotonic()
    await write_begun(stage.store, some)
    await announce_begun(stage.bus, some)
    await _indexed(stage, 0.0)
    return 5.0 + 1.3 * size.sessions / len(some) * (time.monotonic() - started)


def _parts(size: Size, first_due: float) -> Iterator[list[Begun]]:
    for numbers in in_parts(range(size.sessions), _PART):
        yield [_session(number, first_due - _AGE + size.window * number / size.sessions) for number in numbers]


def _session(number: int, at: float) -> Begun:
    address = Address(platform=Platform.TELEGRAM, chat="rate", user=f"user-{number}")
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


async def _all_expired(stage: Stage, size: Size, deadline: float) -> bool:
    told = 0
    while time.time() < deadline:
        figures = await stage.store.heads.statistics(SessionFilter())
        expired = figures.by_status.get(SessionStatus.EXPIRED, 0)
        if expired >= size.sessions:
            return True
        if expired - told >= size.sessions / 10:
            stage.say(f"{expired} of {size.sessions} sessions expired")
            told = expired
        await asyncio.sleep(_POLL)
    return False


async def _ended(stage: Stage, conversations: list[ConversationId]) -> dict[ConversationId, list[float]]:
    """Return when each conversation's session expired; more than one moment: it did so more than once."""
    ended: dict[ConversationId, list[float]] = {}
    for part in in_parts(conversations, _PART):
        logs = await logs_of(stage.store, part)
        ended |= {conversation: _expiries(log) for conversation, log in logs.items()}
    return ended


def _expiries(log: list[Commit]) -> list[float]:
    events = [event for commit in log for event in commit.events if isinstance(event, StateChanged)]
    return [event.at.timestamp() for event in events if event.status is SessionStatus.EXPIRED]


TRIAL: Final = Trial(
    "rate",
    run,
    full=Size(sessions=100_000),
    quick=Size(sessions=2000, window=10, patience=60),
    record=False,
)
