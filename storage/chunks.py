"""Splitting long lists: of ids, of records."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

from agentbus.contracts.records import Record, RecordKind

_Item = TypeVar("_Item")


def chunks(items: Sequence[_Item], size: int) -> Iterator[Sequence[_Item]]:
    """Yield `items` in order, in pieces of up to `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]


def newest_by_kind(records: Sequence[Record]) -> dict[RecordKind, list[Record]]:
    """Return records by their kind; of those of one key that of the highest revision."""
    newest = {(record.kind, record.key): record for record in sorted(records, key=lambda record: record.revision)}
    found: dict[RecordKind, list[Record]] = {}
    for record in newest.values():
        found.setdefault(record.kind, []).append(record)
    return found
