"""What has to be done about a session next, and the record that says when to look at it again."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from agentbus.contracts.commands import ApplyDeadlines, ExpireSession
from agentbus.contracts.expiry import ExpiryRule
from agentbus.contracts.ids import Partition
from agentbus.contracts.records import Record, RecordKind
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.workers.domain.expiry import Later, is_leaving, next_action

_FIRST_WAIT: Final = 5.0
"""Seconds after which a command whose effect is not seen yet is given again.

A session in which something happened before its command got there is looked at again only then: no longer than this.
"""
_LONGEST_WAIT: Final = 300.0
_BLOCKED: Final = 60.0
"""Seconds after which a blocked conversation is looked at again."""

_STRIPPED, _TRIES = "stripped", "tries"


@dataclass(frozen=True, slots=True)
class Archive:
    """The session is to be moved to the archive, or the move to be finished."""


@dataclass(frozen=True, slots=True)
class Discard:
    """The session was deleted, and what the archive has of it is to go too."""


Phase = ExpireSession | ApplyDeadlines | Archive | Discard | Later | None


def next_phase(rules: Iterable[ExpiryRule], head: SessionState, now: datetime, *, stripped: bool = False) -> Phase:
    """Return what is to be done now, or when to look again; None: nothing unless something happens.

    The head alone decides, so that anybody may go on where somebody else stopped; but for one thing: whether the move
    to the archive, or out of it, is finished (`stripped`) stands in the deadline. Raises ConfigurationError for a
    condition that is unknown or fails.
    """
    if head.status is SessionStatus.DELETED:
        return Discard() if (head.archive or head.restored) and not stripped else None
    if head.status is SessionStatus.ARCHIVED and not stripped:
        return Archive()
    if is_leaving(head):
        return Archive()
    phase = next_action(rules, head, now)
    if isinstance(phase, ExpireSession | ApplyDeadlines) and head.blocked_by:
        return Later(now + timedelta(seconds=_BLOCKED))
    return phase


def was_moved(head: SessionState) -> bool:
    """Whether an archived session is in the archive: one that a call made archived has yet to be moved there."""
    return head.status is SessionStatus.ARCHIVED and head.archive is not None


def due_of(phase: Phase, now: datetime) -> datetime | None:
    """Return when a session in this phase has to be looked at."""
    match phase:
        case None:
            return None
        case Later(at):
            return at
        case _:
            return now


def deadline(
    head: SessionState, partition: Partition, due_at: datetime, *, tries: int = 0, stripped: bool = False
) -> Record:
    """Return the record that makes somebody look at a session at `due_at`."""
    return Record(
        kind=RecordKind.DEADLINE,
        key=head.session_id,
        group=str(partition),
        created_at=head.created_at or due_at,
        due_at=due_at,
        revision=head.version,
        data=({_TRIES: tries} if tries else {}) | ({_STRIPPED: True} if stripped else {}),
    )


def tries_of(record: Record) -> int:
    """Return how often a session's command was given since something happened to it."""
    tries = record.data.get(_TRIES, 0)
    return tries if isinstance(tries, int) else 0


def is_stripped(record: Record) -> bool:
    """Whether an archived session's events have left the log."""
    return record.data.get(_STRIPPED) is True


def again_after(tries: int) -> timedelta:
    """Return how long to wait for what was done for the `tries`-th time to be seen; longer each time."""
    return timedelta(seconds=min(_LONGEST_WAIT, _FIRST_WAIT * 2.0 ** min(tries, 10)))
