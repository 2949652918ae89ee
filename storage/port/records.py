"""The records of the store port: what is kept beside the sessions, by kind, key and group."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from datetime import datetime

from agentbus.contracts.history import Page
from agentbus.contracts.records import Record, RecordKind


class Records(ABC):
    """Small documents of many kinds: a key is one record of its kind, a group those that are listed together."""

    @abstractmethod
    async def put(self, record: Record, *, replace: bool = True) -> bool:
        """Keep a record, in place of one of its kind and key unless `replace` is false; return whether it was kept."""

    @abstractmethod
    async def get(self, kind: RecordKind, key: str) -> Record | None:
        """Return a record, or None."""

    @abstractmethod
    async def page(self, kind: RecordKind, group: str, *, limit: int = 50, cursor: str | None = None) -> Page[Record]:
        """Return a group's records of a kind, the latest first (then by key). Raises ValueError as `Heads.page`."""

    @abstractmethod
    async def scan(self, kind: RecordKind, *, limit: int, cursor: str | None = None) -> Page[Record]:
        """Return a page of all records of a kind, whatever their groups, in an order of the store's own.

        Raises StoreDamaged for one of the page that can't be read: its details have the `cursor` behind it, for who
        goes on without it. Raises ValueError as `page` does.
        """

    @abstractmethod
    async def delete(self, kind: RecordKind, key: str) -> bool:
        """Delete a record; return whether there was one."""

    @abstractmethod
    async def delete_group(self, kind: RecordKind, group: str) -> int:
        """Delete a group's records of a kind; return how many there were."""

    @abstractmethod
    async def put_many(self, records: Sequence[Record]) -> None:
        """Keep many records of different keys. One of a lower revision than the one kept under its key changes nothing.

        (`put` does not look at revisions.)
        """

    @abstractmethod
    async def due(
        self, kind: RecordKind, before: datetime, *, groups: Collection[str] | None = None, limit: int
    ) -> list[Record]:
        """Return up to `limit` records of a kind with `due_at` at or before `before`, earliest first (then by key).

        `groups`: of these groups alone. Raises ValueError for a limit outside 1..MAX_PAGE.
        """

    async def add_many(self, records: Sequence[Record]) -> None:
        """Keep many records of different keys that are never put otherwise: of one that is there already, either stays.

        To add what is new may cost a store much less than to put what may have to replace something.
        """
        await self.put_many(records)

    async def put_off(self, records: Sequence[Record]) -> None:
        """Keep records that are there already with another `due_at`, `data` and `revision`, as `put_many` does.

        All else is as it is kept. One that is gone meanwhile may stay away. To put off many alike may cost a store much
        less than to put as many.
        """
        await self.put_many(records)

    @abstractmethod
    async def drop(self, records: Sequence[Record]) -> None:
        """Delete records, each unless a higher revision is kept under its key by now. Unknown ones are passed over."""
