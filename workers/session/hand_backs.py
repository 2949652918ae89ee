"""Partitions that somebody had handed to another worker: asked for in the store, found there with each heartbeat."""

from typing import Final

from agentbus.contracts.clock import Clock
from agentbus.contracts.errors import StoreDamaged
from agentbus.contracts.members import HandBack
from agentbus.contracts.records import Record, RecordKind
from agentbus.storage.damage import SET_ANEW, read_as, tell, unless_damaged
from agentbus.storage.port import Store
from agentbus.storage.reading import iter_records

_KIND: Final = RecordKind.HAND_BACK


class HandBacks:
    """Those of a group of session workers: one a partition, the latest that was asked for, each with an end."""

    def __init__(self, store: Store, group: str, clock: Clock) -> None:
        self._store = store
        self._group = group
        self._clock = clock

    async def ask(self, hand_back: HandBack) -> None:
        """Ask for one, in place of an earlier one of its partition. Raises StoreError."""
        record = Record(
            kind=_KIND,
            key=f"{self._group}/{hand_back.partition}",
            group=self._group,
            created_at=hand_back.asked_at,
            data=hand_back.model_dump(mode="json"),
            # So that who drops one that is over does not drop the one that took its place.
            revision=int(hand_back.asked_at.timestamp() * 1000),
            due_at=hand_back.until,
        )
        await self._store.records.put(record)

    async def current(self) -> list[HandBack]:
        """Return those that hold, by partition, and drop those that are over. Raises StoreError.

        One that can't be read is told and passed over: nobody is kept from working by it.
        """
        now, found, over = self._clock.now(), list[HandBack](), list[Record]()
        try:
            async for record in iter_records(self._store, _KIND, self._group):
                if record.due_at is None or record.due_at <= now:
                    over.append(record)
                elif one := unless_damaged(record, _read):
                    found.append(one)
        except StoreDamaged as damage:
            tell(damage)
        if over:
            await self._store.records.drop(over)
        return sorted(found, key=lambda one: one.partition)


def _read(record: Record) -> HandBack:
    return read_as("a hand-back", HandBack.model_validate, record.data, SET_ANEW)
