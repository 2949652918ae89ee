"""Deadlines: when a rule has to look at a session again, as records in the order of their time."""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Final

from agentbus.contracts.clock import Clock
from agentbus.contracts.errors import ConfigurationError
from agentbus.contracts.ids import Partition, SessionId
from agentbus.contracts.records import Record, RecordKind
from agentbus.contracts.session import SessionState
from agentbus.contracts.topology import Topology
from agentbus.storage.port import Store
from agentbus.workers.expiry.rules import RuleBook
from agentbus.workers.expiry.watch.phases import deadline, due_of, is_stripped, next_phase, was_moved

UNCLEAR: Final = timedelta(seconds=60)
"""How long a session waits whose rules can't be decided: a condition of one's own is unknown, or fails."""


class Deadlines:
    """Puts deadlines, each made from a session's head: an older head's never replaces a newer one's."""

    def __init__(self, store: Store, topology: Topology, book: RuleBook, clock: Clock) -> None:
        self._store = store
        self._topology = topology
        self._book = book
        self._clock = clock

    async def look_at(self, sessions: Collection[SessionId], *, stepped: Collection[SessionId] = ()) -> None:
        """Put the deadlines of sessions to which something happened; drop that of one whose last step was taken.

        `stepped`: those that a step was heard of, which is what their deadlines were for. A session in the archive is
        left alone: whoever moved it there goes by the deadline that it has.
        """
        if sessions:
            heads = await self._store.heads.get_many(sessions)
            await self._put((head for head in heads.values() if not was_moved(head)), stepped=stepped)

    async def look_at_returned(self, sessions: Collection[SessionId]) -> None:
        """Put the deadlines of those among sessions in which something happened after a rule's step.

        The rule may have been through, and without a deadline: it begins anew.
        """
        if sessions:
            heads = await self._store.heads.get_many(sessions)
            await self._put(head for head in heads.values() if head.is_live and head.last_step and head.expiry is None)

    async def look_at_moved(self, sessions: Collection[SessionId]) -> None:
        """Put the deadlines of sessions whose move to the archive, or out of it, is over; drop those of the others."""
        now = self._clock.now()
        following: list[Record] = []
        over: list[Record] = []
        for head in (await self._store.heads.get_many(sessions)).values():
            due_at = self._due_at(head, now, stripped=True)
            if due_at:
                following.append(self.record(head, due_at, stripped=True))
            else:
                over.append(self.record(head, now))
        await self._keep(following, over)

    async def look_again(self, heads: Collection[SessionState]) -> None:
        """Put the deadlines of these sessions by the rules that are there now."""
        archived = [head for head in heads if was_moved(head)]
        unfinished = {head.session_id for head in archived if await self._is_unfinished(head)}
        await self._put(head for head in heads if head.session_id not in unfinished)

    def record(self, head: SessionState, due_at: datetime, *, tries: int = 0, stripped: bool = False) -> Record:
        """Return a session's deadline."""
        return deadline(head, self._partition_of(head), due_at, tries=tries, stripped=stripped)

    def group_of(self, head: SessionState) -> str:
        """Return the group of a session's deadline: its conversation's partition."""
        return str(self._partition_of(head))

    def _partition_of(self, head: SessionState) -> Partition:
        return self._topology.partition_of(head.conversation_id)

    async def _is_unfinished(self, head: SessionState) -> bool:
        """Whether an archived session's deadline says that its events have to leave the log yet."""
        found = await self._store.records.get(RecordKind.DEADLINE, head.session_id)
        return found is not None and not is_stripped(found)

    async def _put(self, heads: Iterable[SessionState], *, stepped: Collection[SessionId] = ()) -> None:
        now = self._clock.now()
        records: list[Record] = []
        over: list[Record] = []
        for head in heads:
            if record := self._first(head, now):
                records.append(record)
            elif head.session_id in stepped:
                over.append(self.record(head, now))
        await self._keep(records, over)

    async def _keep(self, records: list[Record], over: list[Record]) -> None:
        if records:
            await self._store.records.put_many(records)
        if over:
            await self._store.records.drop(over)

    def _first(self, head: SessionState, now: datetime) -> Record | None:
        """Return a session's deadline by its head alone; None if nothing is to be done.

        Unless a step was just taken, what is kept stays: a deadline that is none any more is found when it comes due.
        """
        stripped = was_moved(head)
        due_at = self._due_at(head, now, stripped=stripped)
        return self.record(head, due_at, stripped=stripped) if due_at else None

    def _due_at(self, head: SessionState, now: datetime, *, stripped: bool) -> datetime | None:
        """Return when a session has to be looked at, as far as that is clear."""
        try:
            return due_of(next_phase(self._book.rules, head, now, stripped=stripped), now)
        except ConfigurationError:
            return now + UNCLEAR
