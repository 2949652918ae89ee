"""A wave of sessions that are due is given to their owners only as fast as these carry it out."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from datetime import timedelta

import pytest

from agentbus.contracts.address import Address, Platform
from agentbus.contracts.clock import ManualClock
from agentbus.contracts.commands import ExpireSession
from agentbus.contracts.envelope import Input
from agentbus.contracts.errors import BrokerUnavailable, StoreUnavailable
from agentbus.contracts.expiry import CleanupAction, ExpiryProgress
from agentbus.contracts.ids import ConversationId, Partition, SessionId, digest_of
from agentbus.contracts.records import RecordKind
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.contracts.topology import Topology
from agentbus.storage.memory import MemoryStore
from agentbus.storage.memory.heads import MemoryHeads
from agentbus.storage.port.store import MAX_PAGE
from agentbus.workers.delivery.inputs import Inputs
from agentbus.workers.delivery.telemetry import WorkerMetrics
from agentbus.workers.expiry.rules import ExpiryRules, RuleBook
from agentbus.workers.expiry.statistics import StatisticsRecorder
from agentbus.workers.expiry.watch.commands import ExpiryCommands
from agentbus.workers.expiry.watch.deadlines import Deadlines
from agentbus.workers.expiry.watch.due import DueWatch
from agentbus.workers.expiry.watch.pace import MOST, PATIENCE, Pace
from agentbus.workers.reactive.time_loop import Share
from tests.expiry.world import a_rule

TOPOLOGY = Topology(partitions=8)
SESSIONS = 2000
STOPPED = Partition(5)


class Owners(Inputs):
    """Owners of sessions, each with a queue of what it was given, carried out when a test says so."""

    def __init__(self, store: MemoryStore, clock: ManualClock) -> None:
        self._store = store
        self._clock = clock
        self.queues: dict[Partition, list[SessionId]] = {one: [] for one in TOPOLOGY.all_partitions()}
        self.deepest: Counter[Partition] = Counter()
        self.refuse = False

    async def give(self, commands: Sequence[Input]) -> None:
        if self.refuse:
            raise BrokerUnavailable("down")
        for given in commands:
            assert isinstance(given.data, ExpireSession)
            assert given.data.session_id
            head = self._store.heads._heads[given.data.session_id]
            queue = TOPOLOGY.partition_of(head.conversation_id)
            self.queues[queue].append(head.session_id)
            self.deepest[queue] = max(self.deepest[queue], len(self.queues[queue]))

    async def carry_out(self, most: int, partitions: Iterable[Partition]) -> None:
        """Carry out up to so much of each of some partitions."""
        for partition in partitions:
            some, self.queues[partition] = self.queues[partition][:most], self.queues[partition][most:]
            heads = [self._store.heads._heads[session] for session in some]
            taken = ExpiryProgress(rule_id="silent", step=0, action=CleanupAction.EXPIRE, at=self._clock.now())
            changes = {"status": SessionStatus.EXPIRED, "expiry": taken, "sequence": 5, "version": 4}
            await self._store.heads.save([head.model_copy(update=changes) for head in heads if head.version < 4])


class Faulty(MemoryHeads):
    """Heads that can't be read while `away`."""

    away = False

    async def get_many(self, sessions: Collection[SessionId]) -> dict[SessionId, SessionState]:
        if self.away:
            raise StoreUnavailable("down")
        return await super().get_many(sessions)


class Wave:
    """Very many sessions that are due, their owners, and a watch."""

    def __init__(self) -> None:
        self.clock, self.store = ManualClock(), MemoryStore()
        self.store.heads = self.heads = Faulty()
        self.owners = Owners(self.store, self.clock)

    async def begin(self) -> None:
        rules = ExpiryRules(self.store, self.clock)
        await rules.add(a_rule("silent", idle_for=600.0))
        book, metrics = RuleBook(rules), WorkerMetrics()
        await book.refresh()
        deadlines = Deadlines(self.store, TOPOLOGY, book, self.clock)
        heads = [self._session(number) for number in range(SESSIONS)]
        await self.store.heads.save(heads)
        await deadlines.look_again(heads)
        self.share = share = Share(self.store, "expiry", TOPOLOGY.partitions, clock=self.clock)
        share._alone = True
        self.watch = DueWatch(
            self.store,
            share,
            book,
            deadlines,
            acting=ExpiryCommands(self.store, self.owners, None, metrics=metrics, clock=self.clock),
            pace=Pace(self.store, TOPOLOGY.partitions, clock=self.clock, metrics=metrics),
            figures=StatisticsRecorder(self.store, self.clock),
            clock=self.clock,
            metrics=metrics,
        )
        self.clock.advance(timedelta(seconds=601))

    async def look(self) -> None:
        """Look at what is due until the watch would sleep; not without an end."""
        for _ in range(100):
            if not await self.watch.turn():
                break
        else:
            raise AssertionError("it looks again and again, without a rest")
        self.clock.advance(timedelta(seconds=0.25))

    def left(self, *, partition: Partition | None = None) -> int:
        """Return how many have not expired."""
        live = [head for head in self.heads._heads.values() if head.status is not SessionStatus.EXPIRED]
        return sum(partition in {None, TOPOLOGY.partition_of(head.conversation_id)} for head in live)

    def _session(self, number: int) -> SessionState:
        return SessionState(
            conversation_id=ConversationId(digest_of((str(number),))),
            generation=1,
            version=3,
            first_version=1,
            sequence=3,
            status=SessionStatus.ACTIVE,
            address=Address(platform=Platform.WEB, chat=str(number), user=str(number)),
            created_at=self.clock.now(),
            last_activity=self.clock.now(),
        )


@pytest.fixture
async def wave() -> Wave:
    wave = Wave()
    await wave.begin()
    return wave


async def test_no_owner_has_more_before_it_than_it_takes_in_hand(wave: Wave) -> None:
    looks = 0
    while wave.left():
        await wave.look()
        await wave.owners.carry_out(10, TOPOLOGY.all_partitions())
        looks += 1
    assert max(wave.owners.deepest.values()) == MOST
    assert looks < 1.5 * SESSIONS / 10 / TOPOLOGY.partitions, "the owners had to wait for more"


async def test_a_partition_that_carries_nothing_out_holds_up_no_other_and_gets_little(wave: Wave) -> None:
    others = [one for one in TOPOLOGY.all_partitions() if one != STOPPED]
    for _ in range(60):
        await wave.look()
        await wave.owners.carry_out(50, others)
    assert wave.left() == wave.left(partition=STOPPED) > MOST
    minutes = timedelta(minutes=10)
    for _ in range(minutes // timedelta(seconds=1)):
        await wave.look()
        wave.clock.advance(timedelta(seconds=0.75))
    assert wave.owners.deepest[STOPPED] <= MOST + minutes // PATIENCE + 1

    while wave.left():  # its owner is back
        await wave.owners.carry_out(10, [STOPPED])
        await wave.look()
        wave.clock.advance(timedelta(seconds=1))


async def test_while_the_store_is_away_nothing_more_is_given_and_then_it_goes_on(wave: Wave) -> None:
    await wave.look()
    given = sum(map(len, wave.owners.queues.values()))
    wave.clock.advance(timedelta(seconds=1))
    wave.heads.away = True
    with pytest.raises(StoreUnavailable):  # which is waited out by whoever takes the turns
        await wave.watch.turn()
    assert sum(map(len, wave.owners.queues.values())) == given
    wave.heads.away = False
    while wave.left():
        await wave.owners.carry_out(50, TOPOLOGY.all_partitions())
        await wave.look()


async def test_what_could_not_be_given_is_as_due_as_before(wave: Wave) -> None:
    """Who dies after giving a command gives it again; if its deadline were put off before, nobody would."""
    now = wave.clock.now()
    before = await wave.store.records.due(RecordKind.DEADLINE, now, limit=MAX_PAGE)
    wave.owners.refuse = True
    with pytest.raises(BrokerUnavailable):
        await wave.watch.turn()
    assert await wave.store.records.due(RecordKind.DEADLINE, now, limit=MAX_PAGE) == before
    wave.owners.refuse = False
    while wave.left():
        await wave.look()
        await wave.owners.carry_out(MOST, TOPOLOGY.all_partitions())


async def test_what_is_kept_under_the_number_of_another_partition_is_paced_by_its_own(wave: Wave) -> None:
    """As it is once their number was changed; the other instances watch the other partitions."""
    kept = await wave.store.records.due(RecordKind.DEADLINE, wave.clock.now(), limit=MAX_PAGE)
    theirs = [one for one in kept if one.group == str(STOPPED)][: 2 * MOST]
    assert len(theirs) > MOST
    await wave.store.records.drop(kept)
    await wave.store.records.put_many([one.model_copy(update={"group": "1"}) for one in theirs])
    wave.share._alone, wave.share._watched = False, frozenset({Partition(1)})

    await wave.look()
    assert len(wave.owners.queues[STOPPED]) == MOST
    for _ in range(20):
        await wave.owners.carry_out(MOST, [STOPPED])
        wave.clock.advance(timedelta(seconds=1))
        await wave.look()
    assert wave.left() == SESSIONS - len(theirs)
    assert wave.owners.deepest[STOPPED] == MOST
