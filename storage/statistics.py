"""Figures about many sessions: what every store does alike with the sums that it was given."""

from collections import Counter
from collections.abc import Iterable
from typing import Final, NamedTuple

from agentbus.contracts.records import SessionStatistics
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.storage.paging import to_milliseconds

_KNOWN: Final = frozenset(SessionStatus)


class Tally(NamedTuple):
    """What some sessions of one status add up to."""

    status: str
    sessions: int
    messages: int
    lasted_ms: int


def lasted_ms(head: SessionState) -> int:
    """Return the milliseconds from a session's start to its last activity; 0 if it had none."""
    if head.created_at is None or head.last_activity is None:
        return 0
    # Two workers wrote the two moments: by clocks that may differ.
    return max(0, to_milliseconds(head.last_activity) - to_milliseconds(head.created_at))


def statistics_of(heads: Iterable[SessionState]) -> SessionStatistics:
    """Return the figures of some heads, without the deleted ones."""
    counted = (head for head in heads if head.status is not SessionStatus.DELETED)
    return to_statistics(Tally(head.status, 1, head.message_count, lasted_ms(head)) for head in counted)


def to_statistics(tallies: Iterable[Tally]) -> SessionStatistics:
    """Add up what some sessions were counted to be; a status may come more than once, and one not known not at all."""
    by_status: Counter[SessionStatus] = Counter()
    messages = lasted = 0
    for tally in tallies:
        if tally.status not in _KNOWN:
            continue
        by_status[SessionStatus(tally.status)] += tally.sessions
        messages += tally.messages
        lasted += tally.lasted_ms
    total = by_status.total()
    mean = lasted / total / 1000 if total else 0.0
    return SessionStatistics(total=total, by_status=dict(by_status), messages=messages, mean_seconds=mean)
