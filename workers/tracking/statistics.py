"""What became of sessions in some time, by the figures."""

from dataclasses import dataclass
from datetime import datetime

from agentbus.contracts.history import SessionFilter
from agentbus.storage.port import Store
from agentbus.workers.domain.tracking.counters import ENDS, LASTED, STARTS, STATES, added, after


@dataclass(frozen=True, slots=True, kw_only=True)
class StateStatistics:
    """What became of sessions from one moment to another. Hours count whole."""

    since: datetime
    until: datetime
    started: int
    ended: dict[str, int]
    """By how: closed, reset, superseded, expired, archived, deleted."""
    changes: dict[str, int]
    """Changes of status, by the new one."""
    mean_seconds: float | None
    """How long those that ended had been there; None if none ended."""
    now: dict[str, int]
    """Sessions that there are, by their status."""


async def state_statistics(store: Store, since: datetime, until: datetime) -> StateStatistics:
    """Return what became of sessions, as far as workers have followed them. Raises StoreError."""
    from agentbus.workers.tracking.kept import read_series  # noqa: PLC0415 - for who asks, not for who names the type

    total = added((await read_series(store, since, until)).hours.values())
    ended = after(total, ENDS)
    kept = await store.heads.statistics(SessionFilter())
    return StateStatistics(
        since=since,
        until=until,
        started=total[STARTS],
        ended=ended,
        changes=after(total, STATES),
        mean_seconds=total[LASTED] / sum(ended.values()) / 1000 if ended else None,
        now={status.value: count for status, count in kept.by_status.items()},
    )
