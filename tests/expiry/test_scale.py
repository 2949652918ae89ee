"""Many sessions due at about the same time: none is lost, none is dealt with twice, none waits long.

Ten thousand in `make test`, a hundred thousand in `make react`.
"""

import os
import time
from bisect import insort
from collections import Counter
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

import pytest

from agentbus.contracts.address import Address, Platform
from agentbus.contracts.clock import ManualClock
from agentbus.contracts.commands import ExpireSession
from agentbus.contracts.envelope import Input
from agentbus.contracts.expiry import CleanupAction, ExpiryProgress
from agentbus.contracts.ids import ConversationId, SessionId, digest_of
from agentbus.contracts.records import Record, RecordKind
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.contracts.topology import Topology
from agentbus.storage.memory import MemoryStore
from agentbus.storage.memory.records import MemoryRecords
from agentbus.workers.delivery.inputs import Inputs
from agentbus.workers.delivery.telemetry import WorkerMetrics
from agentbus.workers.expiry.rules import ExpiryRules, RuleBook
from agentbus.workers.expiry.statistics import StatisticsRecorder
from agentbus.workers.expiry.watch.commands import ExpiryCommands
from agentbus.workers.expiry.watch.deadlines import Deadlines
from agentbus.workers.expiry.watch.due import DueWatch
from agentbus.workers.expiry.watch.pace import Pace
from agentbus.workers.reactive.time_loop import Share
from tests.expiry.world import a_rule

SESSIONS = int(os.environ.get("EXPIRY_SESSIONS", "10000"))
TOPOLOGY = Topology(partitions=16)


class Indexed(MemoryRecords):
    """The records of a memory store with what every other one has: an index of the deadlines by their time."""

    def __init__(self) -> None:
        super().__init__()
        self._by_time: list[tuple[datetime, str]] = []

    async def put_many(self, records: Sequence[Record]) -> None:
        await super().put_many(records)
        for record in records:
            assert record.due_at
            insort(self._by_time, (record.due_at, record.key))

    async def due(
        self, kind: RecordKind, before: datetime, *, groups: Collection[str] | None = None, limit: int
    ) -> list[Record]:
        found: dict[str, Record] = {}
        passed, others = 0, 0
        for due_at, key in self._by_time:
            if due_at > before or len(found) == limit:
                break
            record = self._records.get((kind, key))
            if record and record.due_at == due_at:
                if groups is None or record.group in groups:
                    found[key] = record
                else:
                    others += 1  # of a partition that has been given enough
            elif not (found or others):
                passed += 1  # dropped, or put off since
        del self._by_time[:passed]
        return list(found.values())


class Owners(Inputs):
    """Carries commands out at once, on the heads alone, with the re-check that the owners of the sessions make."""

    def __init__(self, store: MemoryStore, clock: ManualClock) -> None:
        self._store = store
        self._clock = clock
        self.expired: Counter[SessionId] = Counter()
        self.repeated = 0

    async def give(self, commands: Sequence[Input]) -> None:
        heads = []
        for given in commands:
            assert isinstance(given.data, ExpireSession)
            assert given.data.session_id
            head = self._store.heads._heads[given.data.session_id]
            if given.data.seen != head.sequence:
                self.repeated += 1
                continue
            taken = ExpiryProgress(rule_id="silent", step=0, action=CleanupAction.EXPIRE, at=self._clock.now())
            changes = {"status": SessionStatus.EXPIRED, "expiry": taken, "sequence": 5, "version": 4}
            heads.append(head.model_copy(update=changes))
            self.expired[head.session_id] += 1
        await self._store.heads.save(heads)


def a_session(number: int, clock: ManualClock) -> SessionState:
    """Return a session that was last active at some moment of the last minute."""
    active = clock.now() - timedelta(seconds=60 * number / SESSIONS)
    conversation = ConversationId(digest_of((str(number),)))
    return SessionState(
        conversation_id=conversation,
        generation=1,
        version=3,
        first_version=1,
        sequence=3,
        status=SessionStatus.ACTIVE,
        address=Address(platform=Platform.WEB, chat=str(number), user=str(number)),
        created_at=active,
        last_activity=active,
    )


@pytest.mark.timeout(600)  # a hundred thousand take about 20 s of a processor
async def test_all_sessions_that_are_due_in_the_same_minute() -> None:
    clock, store = ManualClock(), MemoryStore()
    store.records = Indexed()
    rules = ExpiryRules(store, clock)
    await rules.add(a_rule("silent", idle_for=600.0))
    book = RuleBook(rules)
    await book.refresh()
    deadlines = Deadlines(store, TOPOLOGY, book, clock)
    heads = [a_session(number, clock) for number in range(SESSIONS)]
    await store.heads.save(heads)
    for start in range(0, SESSIONS, 5000):
        await deadlines.look_again(heads[start : start + 5000])

    owners = Owners(store, clock)
    metrics = WorkerMetrics()
    share = Share(store, "expiry", TOPOLOGY.partitions, clock=clock)
    share._alone = True
    watch = DueWatch(
        store,
        share,
        book,
        deadlines,
        acting=ExpiryCommands(store, owners, None, metrics=metrics, clock=clock),
        pace=Pace(store, TOPOLOGY.partitions, clock=clock, metrics=metrics),
        figures=StatisticsRecorder(store, clock),
        clock=clock,
        metrics=metrics,
    )
    clock.advance(timedelta(seconds=540))
    begun = time.process_time()
    for _ in range(13):  # a look each 5 seconds of the minute: nothing may wait for longer
        while await watch.turn():
            pass
        clock.advance(timedelta(seconds=5))
    rate = SESSIONS / (time.process_time() - begun)

    assert len(owners.expired) == SESSIONS
    assert set(owners.expired.values()) == {1}
    assert owners.repeated == 0
    late = [sample for family in metrics.expiry_lateness.collect() for sample in family.samples]
    assert next(one.value for one in late if one.labels.get("le") == "5.0") == SESSIONS
    clock.advance(timedelta(minutes=10))
    while await watch.turn():
        pass
    left = await store.records.due(RecordKind.DEADLINE, clock.now() + timedelta(days=365), limit=10)
    assert left == []
    print(f"{rate:,.0f} sessions a second of one processor")  # noqa: T201 - the measured rate, for whoever asks for it with -s
    assert rate > 1000
