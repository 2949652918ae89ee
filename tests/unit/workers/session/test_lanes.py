"""Lanes: order within a conversation, bounds of a turn, and the events that tell when there is something to do."""

import pytest

from agentbus.contracts.commands import ApplyDeadlines
from agentbus.contracts.ids import ConversationId, Partition
from agentbus.workers.session.lanes import Lanes, Lease, Turn, Waiting
from tests.harness.builders import a_conversation
from tests.harness.conversations import given, message
from tests.harness.deliveries import Handed

ADA, BOB, EVE = (a_conversation(name) for name in ("ada", "bob", "eve"))
HOME, AWAY = Partition(0), Partition(1)
LEASE = Lease(HOME)


def an_input(number: int, *, size: int = 10) -> Waiting:
    return Waiting(Handed(b"x" * size, message_id=str(number)), given(message(number), str(number)), LEASE)


def push(
    lanes: Lanes, conversation: ConversationId, *numbers: int, partition: Partition = HOME, size: int = 10
) -> None:
    for number in numbers:
        lanes.push(conversation, partition, an_input(number, size=size))


def push_background(lanes: Lanes, conversation: ConversationId, *numbers: int, partition: Partition = HOME) -> None:
    for number in numbers:
        waiting = Waiting(Handed(b"x", message_id=str(number)), given(ApplyDeadlines(), str(number)), LEASE)
        lanes.push(conversation, partition, waiting)


def ids(turn: Turn) -> list[int]:
    return [int(waiting.given.id) for waiting in turn.inputs]


def take_one(lanes: Lanes) -> Turn:
    (turn,) = lanes.take(1)
    return turn


@pytest.fixture
def lanes() -> Lanes:
    return Lanes(max_inputs=3, max_bytes=100)


def test_inputs_come_out_in_their_order(lanes: Lanes) -> None:
    push(lanes, ADA, 1, 2)
    turn = take_one(lanes)
    assert ids(turn) == [1, 2]
    assert turn.lane.conversation == ADA
    assert turn.lease is LEASE


def test_while_a_lane_is_busy_its_next_inputs_wait(lanes: Lanes) -> None:
    push(lanes, ADA, 1)
    turn = take_one(lanes)
    push(lanes, ADA, 2, 3)
    assert lanes.take(10) == []
    assert not lanes.readiness.is_set()
    lanes.done(turn.lane)
    assert lanes.readiness.is_set()
    assert ids(take_one(lanes)) == [2, 3]


def test_a_busy_lane_holds_up_no_other(lanes: Lanes) -> None:
    push(lanes, ADA, 1)
    take_one(lanes)
    push(lanes, BOB, 2)
    assert [turn.lane.conversation for turn in lanes.take(10)] == [BOB]


def test_the_lane_that_is_ready_longest_comes_first(lanes: Lanes) -> None:
    push(lanes, ADA, 1)
    push(lanes, BOB, 2)
    push(lanes, ADA, 3)
    push(lanes, EVE, 4)
    assert [turn.lane.conversation for turn in lanes.take(2)] == [ADA, BOB]
    assert lanes.readiness.is_set(), "one is left"
    assert [turn.lane.conversation for turn in lanes.take(2)] == [EVE]
    assert not lanes.readiness.is_set()


def test_a_lane_that_had_its_turn_gets_in_line_again(lanes: Lanes) -> None:
    push(lanes, ADA, 1, 2, 3, 4)
    turn = take_one(lanes)
    push(lanes, BOB, 5)
    lanes.done(turn.lane)
    assert [turn.lane.conversation for turn in lanes.take(10)] == [BOB, ADA]


def test_a_turn_holds_so_many_inputs_and_the_rest_comes_next(lanes: Lanes) -> None:
    push(lanes, ADA, 1, 2, 3, 4, 5)
    turn = take_one(lanes)
    assert ids(turn) == [1, 2, 3]
    lanes.done(turn.lane)
    assert ids(take_one(lanes)) == [4, 5]


@pytest.mark.parametrize(
    ("size", "turns"), [(50, [[1, 2], [3]]), (51, [[1], [2], [3]]), (1000, [[1], [2], [3]]), (33, [[1, 2, 3]])]
)
def test_a_turn_holds_so_many_bytes_and_at_least_one_input(lanes: Lanes, size: int, turns: list[list[int]]) -> None:
    push(lanes, ADA, 1, 2, 3, size=size)
    taken: list[list[int]] = []
    while ready := lanes.take(1):
        taken.append(ids(ready[0]))
        lanes.done(ready[0].lane)
    assert taken == turns


def test_emptiness_is_told(lanes: Lanes) -> None:
    assert lanes.emptiness.is_set()
    push(lanes, ADA, 1)
    assert not lanes.emptiness.is_set()
    turn = take_one(lanes)
    assert not lanes.emptiness.is_set(), "it is being worked on"
    lanes.done(turn.lane)
    assert lanes.emptiness.is_set()
    assert len(lanes) == 0


def test_a_dropped_partition_is_forgotten_and_others_are_not(lanes: Lanes) -> None:
    push(lanes, ADA, 1, 2)
    push(lanes, BOB, 3, partition=AWAY)
    lanes.drop(HOME)
    assert len(lanes) == 1
    assert lanes.readiness.is_set()
    assert [ids(turn) for turn in lanes.take(10)] == [[3]]


def test_dropping_all_there_is_leaves_nothing_to_do(lanes: Lanes) -> None:
    push(lanes, ADA, 1)
    push(lanes, BOB, 2)
    lanes.drop(HOME)
    assert not lanes.readiness.is_set()
    assert lanes.emptiness.is_set()
    assert lanes.take(10) == []


def test_what_is_worked_on_goes_on_when_its_partition_is_dropped(lanes: Lanes) -> None:
    """What came again meanwhile must not be worked on beside it."""
    push(lanes, ADA, 1, 2, 3, 4)
    turn = take_one(lanes)
    lanes.drop(HOME)
    assert ids(turn) == [1, 2, 3]
    assert not lanes.emptiness.is_set()
    push(lanes, ADA, 1, 2)
    assert lanes.take(10) == [], "the lane is still busy"
    lanes.done(turn.lane)
    assert ids(take_one(lanes)) == [1, 2]


def test_dropping_what_is_not_there_does_nothing(lanes: Lanes) -> None:
    lanes.drop(HOME)
    assert lanes.emptiness.is_set()
    assert not lanes.readiness.is_set()


def test_a_turn_begins_at_once_only_where_nothing_waits_or_is_under_way_in_its_conversation(lanes: Lanes) -> None:
    turn = lanes.begin(ADA, HOME, an_input(1))
    assert turn is not None
    assert ids(turn) == [1]
    assert not lanes.readiness.is_set()
    assert not lanes.emptiness.is_set()
    assert lanes.begin(ADA, HOME, an_input(2)) is None
    other = lanes.begin(BOB, AWAY, an_input(3))
    assert other is not None
    push(lanes, ADA, 2)
    lanes.done(turn.lane)
    assert lanes.begin(EVE, HOME, an_input(4)) is None, "somebody has waited for longer"
    after = take_one(lanes)
    assert ids(after) == [2]
    lanes.done(after.lane)
    lanes.done(other.lane)
    assert lanes.emptiness.is_set()


def test_background_is_ready_apart(lanes: Lanes) -> None:
    push_background(lanes, ADA, 1)
    assert lanes.readiness.is_set()
    assert (lanes.ready, lanes.ready_background) == (0, 1)
    assert lanes.take(10) == []
    assert lanes.readiness.is_set(), "it is still there"
    push(lanes, BOB, 2)
    assert [ids(turn) for turn in lanes.take(10)] == [[2]]
    assert [ids(turn) for turn in lanes.take(10, background=True)] == [[1]]
    assert not lanes.readiness.is_set()


def test_a_lane_is_background_only_with_nothing_else_in_it_and_keeps_its_order(lanes: Lanes) -> None:
    push_background(lanes, ADA, 1, 2, 3)
    push(lanes, ADA, 4)
    assert (lanes.ready, lanes.ready_background) == (1, 0)
    turn = take_one(lanes)
    assert ids(turn) == [1, 2, 3]
    lanes.done(turn.lane)
    assert (lanes.ready, lanes.ready_background) == (1, 0), "what people sent waits still"
    turn = take_one(lanes)
    assert ids(turn) == [4]
    push_background(lanes, ADA, 5)
    lanes.done(turn.lane)
    assert (lanes.ready, lanes.ready_background) == (0, 1)


def test_background_that_is_dropped_is_forgotten(lanes: Lanes) -> None:
    push_background(lanes, ADA, 1)
    push_background(lanes, BOB, 2, partition=AWAY)
    lanes.drop(HOME)
    assert [ids(turn) for turn in lanes.take(10, background=True)] == [[2]]
    assert not lanes.readiness.is_set()
    push(lanes, ADA, 3)
    lanes.drop(HOME)
    push_background(lanes, ADA, 4)
    assert (lanes.ready, lanes.ready_background) == (0, 1)


def test_a_turn_begins_at_once_where_nothing_but_background_waits(lanes: Lanes) -> None:
    push_background(lanes, ADA, 1)
    assert lanes.begin(ADA, HOME, an_input(2)) is None
    assert lanes.begin(BOB, HOME, an_input(3)) is not None
