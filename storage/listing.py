"""Lists in the order that every store gives, for stores that go through all there is."""

from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import datetime
from heapq import nsmallest
from operator import itemgetter
from typing import TypeVar

from agentbus.contracts.history import SessionFilter
from agentbus.contracts.records import Record
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.storage.paging import Position, to_milliseconds

_Item = TypeVar("_Item")


def rank(position: Position) -> tuple[int, str]:
    """Return what sorts as a list does: the latest first, then by id."""
    return -to_milliseconds(position[0]), position[1]


def listed(
    items: Iterable[_Item], position: Callable[[_Item], Position], after: Position | None, count: int | None = None
) -> list[_Item]:
    """Return the items that come after a position, the latest first, then by id; the first `count` if it is given."""
    begins = None if after is None else rank(after)
    keyed = ((rank(position(item)), item) for item in items)
    following = (one for one in keyed if begins is None or one[0] > begins)
    by_key = itemgetter(0)
    found = sorted(following, key=by_key) if count is None else nsmallest(count, following, key=by_key)
    return [item for _, item in found]


def selected(heads: Iterable[SessionState], where: SessionFilter) -> Iterator[SessionState]:
    """Yield the heads that `where` selects."""
    wanted = where.model_dump(exclude_none=True, exclude={"tags"})
    tags = set(where.tags)
    for head in heads:
        is_shown = where.status is not None or head.status is not SessionStatus.DELETED
        if is_shown and tags.issubset(head.profile.tags) and all(_told(head, one) == wanted[one] for one in wanted):
            yield head


def earliest_due(heads: Iterable[SessionState], before: datetime, limit: int) -> list[SessionState]:
    """Return up to `limit` of the heads that are due at `before`, the earliest first, then by session id."""
    found = [(head.due_at, head.session_id, head) for head in heads if head.due_at and head.due_at <= before]
    return [head for _, _, head in sorted(found, key=lambda one: one[:2])[:limit]]


def earliest_due_records(
    records: Iterable[Record], before: datetime, groups: Collection[str] | None, limit: int
) -> list[Record]:
    """Return up to `limit` of the records that are due at `before`, the earliest first, then by key."""
    wanted = None if groups is None else set(groups)
    found = [
        (record.due_at, record.key, record)
        for record in records
        if record.due_at and record.due_at <= before and (wanted is None or record.group in wanted)
    ]
    return [record for _, _, record in sorted(found, key=lambda one: one[:2])[:limit]]


def _told(head: SessionState, name: str) -> object:
    """Return what a head says of what a filter of that name asks for."""
    match name:
        case "status" | "conversation_id" | "identity":
            return getattr(head, name)
        case "conflicts":
            return bool(head.conflicts)
        case "owner" | "agent_id" | "parent_id":
            return getattr(head.profile, name)
        case _:
            return getattr(head.address, name) if head.address else None
