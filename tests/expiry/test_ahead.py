"""What is given ahead is bounded, of each partition and of all; what has no room stays due and is given later."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

import pytest

from agentbus.contracts.clock import ManualClock
from agentbus.contracts.envelope import Input
from agentbus.contracts.ids import ConversationId, SessionId, digest_of
from agentbus.contracts.records import RecordKind
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.contracts.topology import Topology
from agentbus.storage.memory import MemoryStore
from agentbus.workers.delivery.inputs import Inputs
from agentbus.workers.delivery.telemetry import WorkerMetrics
from agentbus.workers.expiry.rules import ExpiryRules, RuleBook
from agentbus.workers.expiry.statistics import StatisticsRecorder
from agentbus.workers.expiry.watch import ahead as ahead_module
from agentbus.workers.expiry.watch.ahead import FORGET_AFTER, LOOK_AFTER, OF_A_PARTITION, OF_ALL, Ahead
from agentbus.workers.expiry.watch.commands import ExpiryCommands
from agentbus.workers.expiry.watch.deadlines import Deadlines
from agentbus.workers.expiry.watch.due import DueWatch
from agentbus.workers.reactive.time_loop import Share
from tests.expiry.world import a_rule
from tests.harness.patience import PATIENCE

TOPOLOGY = Topology(partitions=16)


class Noting(Inputs):
    """Notes which sessions were given a command; nobody carries it out."""

    def __init__(self) -> None:
        self.given: Counter[str] = Counter()

    async def give(self, inputs: Sequence[Input]) -> None:
        self.given.update(str(getattr(one.data, "session_id", None)) for one in inputs)


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return the time in seconds by which what is under way grows old, to be set."""
    moment = [1000.0]
    monkeypatch.setattr(ahead_module, "monotonic", lambda: moment[0])
    return moment


def a_head(number: int, partition: int | None = None) -> SessionState:
    names = (f"{number}/{attempt}" for attempt in range(10_000))
    conversations = (ConversationId(digest_of((name,))) for name in names)
    conversation = next(one for one in conversations if partition in (None, TOPOLOGY.partition_of(one)))
    clock = ManualClock()
    return SessionState(
        conversation_id=conversation,
        generation=1,
        version=3,
        first_version=1,
        sequence=3,
        status=SessionStatus.ACTIVE,
        created_at=clock.now(),
        last_activity=clock.now(),
    )


def group_of(head: SessionState) -> str:
    return str(TOPOLOGY.partition_of(head.conversation_id))


async def test_a_session_is_under_way_until_something_happened_to_it(now: list[float]) -> None:
    store, heads = MemoryStore(), [a_head(number, partition=5) for number in range(OF_A_PARTITION + 1)]
    await store.heads.save(heads)
    ahead = Ahead(store)
    given = [ahead.gives(head, "5") for head in heads]
    assert given == [True] * OF_A_PARTITION + [False]
    assert ahead.gives(heads[0], "5")  # the same once more takes no room
    assert ahead.full == {"5"}
    assert ahead.gives(a_head(7, partition=6), "6")
    half = OF_A_PARTITION // 2
    ahead.seen([SessionId("of-nobody.1"), *(head.session_id for head in heads[2 : half + 1])])
    assert ahead.full == {"5"}
    assert not ahead.gives(heads[-1], "5")
    ahead.seen([heads[0].session_id])
    assert ahead.full == frozenset()
    assert ahead.gives(heads[-1], "5")

    now[0] += LOOK_AFTER / 2
    await store.heads.save([heads[1].model_copy(update={"version": 4})])
    await ahead.look()
    assert len(ahead) == half + 2  # it is early to look
    now[0] += LOOK_AFTER / 2
    await ahead.look()
    assert len(ahead) == half  # one has changed, and of one there is no head
    now[0] += FORGET_AFTER
    await ahead.look()
    assert (len(ahead), ahead.full, ahead.room) == (0, frozenset(), OF_ALL)


async def test_nobody_waits_for_room_for_ever() -> None:
    ahead = Ahead(MemoryStore())
    for number in range(OF_ALL):
        assert ahead.gives(a_head(number), str(number))
    assert not ahead.gives(a_head(OF_ALL), "of its own")
    await ahead.some_room(0.01)
    assert ahead.room == 0


async def test_what_waits_for_room_is_woken() -> None:
    ahead = Ahead(MemoryStore())
    waiting = asyncio.create_task(ahead.change(PATIENCE))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    ahead.seen([])
    await asyncio.wait_for(waiting, PATIENCE)


async def test_what_has_no_room_stays_due_and_holds_no_other_partition_up() -> None:
    clock, store = ManualClock(), MemoryStore()
    rules = ExpiryRules(store, clock)
    await rules.add(a_rule("silent", idle_for=60.0))
    book = RuleBook(rules)
    await book.refresh()
    deadlines, ahead, commands, metrics = (
        Deadlines(store, TOPOLOGY, book, clock),
        Ahead(store),
        Noting(),
        WorkerMetrics(),
    )
    share = Share(store, "expiry", TOPOLOGY.partitions, clock=clock)
    share._watched, share._alone = frozenset(TOPOLOGY.all_partitions()), True
    watch = DueWatch(
        store,
        share,
        book,
        deadlines,
        ahead,
        acting=ExpiryCommands(store, commands, None, metrics=metrics, clock=clock),
        figures=StatisticsRecorder(store, clock),
        clock=clock,
        metrics=metrics,
    )
    crowd = [a_head(number, partition=5) for number in range(4 * OF_A_PARTITION)]
    other = a_head(0, partition=6)
    await store.heads.save([*crowd, other])
    await deadlines.look_again(crowd)
    clock.advance(timedelta(seconds=1))
    await deadlines.look_again([other])
    clock.advance(timedelta(seconds=70))
    for _ in range(3):
        assert await watch.turn()
    assert len(commands.given) == OF_A_PARTITION + 1
    assert other.session_id in commands.given
    due = await store.records.due(RecordKind.DEADLINE, clock.now(), limit=1000)
    assert len(due) == 3 * OF_A_PARTITION
    while len(commands.given) < len(crowd) + 1:
        ahead.seen(SessionId(one) for one in commands.given)
        await watch.turn()
    assert set(commands.given.values()) == {1}
    assert await store.records.due(RecordKind.DEADLINE, clock.now(), limit=1000) == []
