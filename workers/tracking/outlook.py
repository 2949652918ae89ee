"""Predicting what becomes of a session, by the figures of all of them."""

from collections import Counter
from datetime import datetime, timedelta
from typing import Final

from agentbus.contracts.ids import conversation_of
from agentbus.contracts.records import RecordKind
from agentbus.contracts.session import SessionState
from agentbus.storage.port import Store
from agentbus.storage.reading import iter_records
from agentbus.workers.domain.tracking.chances import Assessment, Prediction, assess, chances_of
from agentbus.workers.domain.tracking.counters import MESSAGES, NEW, RETURNS, added, after
from agentbus.workers.domain.tracking.following import LONGEST_SILENCE
from agentbus.workers.domain.tracking.patterns import Series
from agentbus.workers.domain.tracking.survival import Lifetimes, lifetimes_of
from agentbus.workers.tracking.kept import ledger, read_series, read_tracked, tracked_in

LOOKED_BACK: Final = timedelta(days=90)
"""How far back others are looked at."""
_HOUR: Final = timedelta(hours=1)
_AGES: Final = (0, 1, 3, 12, 24, 72)


async def predict(store: Store, session: SessionState, now: datetime) -> Prediction:
    """Return what is likely to become of a session. Reads the figures of all of the last 90 days."""
    since = now - LOOKED_BACK
    heard = (await read_tracked(store, conversation_of(session.session_id))).heard_at
    silent = max(0, (now - heard) // _HOUR) if heard else None
    age = max(0, (now - (session.created_at or now)) // _HOUR)
    lives = await _lives(store, since, now) if session.is_live else None
    silences = await silences_between(store, since, now) if silent is not None else None
    return Prediction(
        session_id=session.session_id,
        age_hours=age,
        silent_hours=silent,
        returns=chances_of(silences, silent) if silences and silent is not None else None,
        ends=chances_of(lives, age) if lives else None,
    )


async def assess_returns(store: Store, now: datetime, horizon: int = 24) -> Assessment:
    """Return how far off the chances of a return were: by the first half of the time looked at, of the second."""
    since = now - LOOKED_BACK
    half = since + LOOKED_BACK / 2
    known = ended_silences(await read_series(store, since, half))
    later = await silences_between(store, half, now)
    return assess(known, later, horizon, _AGES)


async def silences_between(store: Store, since: datetime, now: datetime) -> Lifetimes:
    """Return for how many whole hours people were silent before they wrote again, or have been by now."""
    over = ended_silences(await read_series(store, since, now))
    still = Counter[int]()
    async for record in iter_records(store, RecordKind.TRACKED, "default"):
        tracked = tracked_in(record)
        if tracked and tracked.heard_at and since <= tracked.heard_at <= now:
            still[min(LONGEST_SILENCE, (now - tracked.heard_at) // _HOUR)] += 1
    return Lifetimes(over.ended, still)


def ended_silences(series: Series) -> Lifetimes:
    """Return the silences that came to an end. Those of less than an hour are what is left of all messages."""
    total = added(series.hours.values())
    ended = Counter({int(hours): count for hours, count in after(total, RETURNS).items()})
    ended[0] = max(0, total[f"{MESSAGES}user"] - total[NEW] - sum(ended.values()))
    return Lifetimes(+ended, {})


async def _lives(store: Store, since: datetime, now: datetime) -> Lifetimes:
    """Return for how many whole hours sessions were there before they ended, or have been by now."""
    found = [
        (max(0, ((one.ended_at or now) - one.started_at) // _HOUR), one.ended_at is not None)
        async for one in ledger(store, since.date(), now.date())
    ]
    return lifetimes_of(found)
