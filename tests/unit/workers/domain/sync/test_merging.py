"""What each strategy makes of each operation: the table, each cell with its own case through decide and evolve."""

from dataclasses import dataclass
from typing import Any

import pytest

from agentbus.contracts.address import Platform
from agentbus.contracts.commands import SetData
from agentbus.contracts.events import ConflictOpened, ContextMerged
from agentbus.contracts.session import SessionState
from agentbus.contracts.sync import ConflictStrategy, Entry, SyncOperation
from agentbus.workers.domain.sync.fields import entries_of
from tests.harness.conversations import NOW
from tests.harness.linked import after, entry, events_of, gone, linked, merge, stamp, step

LATEST, PRIORITY, FIELDS, MANUAL = (
    ConflictStrategy.LATEST_WINS,
    ConflictStrategy.SOURCE_PRIORITY,
    ConflictStrategy.MERGE,
    ConflictStrategy.MANUAL,
)
CREATE, UPDATE, DELETE, MERGE = SyncOperation.CREATE, SyncOperation.UPDATE, SyncOperation.DELETE, SyncOperation.MERGE

HELD: dict[str, Any] = {"name": {"first": "Ann", "last": "Lee"}, "city": "Oslo"}
"""Written at 0 s by the session itself, on the web."""

_NEW = (entry("/data/mood", "good", stamp(-5)),)
_LATER = (entry("/data/name/first", "Anna", stamp(5)),)
_REMOVED = (gone("/data/city", stamp(5)),)
_WHOLE = (*_NEW, *_LATER, *_REMOVED)


@dataclass(frozen=True)
class Cell:
    """What is offered, and what there is afterwards."""

    offered: tuple[Entry, ...]
    data: dict[str, Any]
    conflicts: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    priority: tuple[Platform, ...] = ()


CELLS: dict[tuple[ConflictStrategy, SyncOperation], Cell] = {
    (LATEST, CREATE): Cell(_NEW, HELD | {"mood": "good"}),
    (LATEST, UPDATE): Cell(_LATER, HELD | {"name": {"first": "Anna"}}),
    (LATEST, DELETE): Cell(_REMOVED, {"name": HELD["name"]}),
    (LATEST, MERGE): Cell(_WHOLE, {"name": {"first": "Anna"}, "mood": "good"}),
    (PRIORITY, CREATE): Cell(_NEW, HELD | {"mood": "good"}, priority=(Platform.WEB,)),
    (PRIORITY, UPDATE): Cell(
        _LATER, HELD, kept=("/data/name/first", "/data/name/last"), priority=(Platform.WEB, Platform.SLACK)
    ),
    (PRIORITY, DELETE): Cell(_REMOVED, {"name": HELD["name"]}, priority=(Platform.SLACK, Platform.WEB)),
    (PRIORITY, MERGE): Cell(
        _WHOLE,
        HELD | {"mood": "good"},
        kept=("/data/city", "/data/name/first", "/data/name/last"),
        priority=(Platform.WEB,),
    ),
    (FIELDS, CREATE): Cell(_NEW, HELD | {"mood": "good"}),
    (FIELDS, UPDATE): Cell(_LATER, HELD | {"name": {"first": "Anna", "last": "Lee"}}),
    (FIELDS, DELETE): Cell(_REMOVED, {"name": HELD["name"]}),
    (FIELDS, MERGE): Cell(_WHOLE, {"name": {"first": "Anna", "last": "Lee"}, "mood": "good"}),
    (MANUAL, CREATE): Cell(_NEW, HELD | {"mood": "good"}),
    (MANUAL, UPDATE): Cell(_LATER, HELD, conflicts=("/data/name/first",)),
    (MANUAL, DELETE): Cell(_REMOVED, HELD, conflicts=("/data/city",)),
    (MANUAL, MERGE): Cell(_WHOLE, HELD | {"mood": "good"}, conflicts=("/data/city", "/data/name/first")),
}
TABLE = [(strategy, operation) for strategy in ConflictStrategy for operation in SyncOperation]


def ids(cell: object) -> str:
    return "-".join(map(str, cell)) if isinstance(cell, tuple) else str(cell)


@pytest.mark.parametrize("place", TABLE, ids=ids)
def test_a_cell_of_the_table(place: tuple[ConflictStrategy, SyncOperation]) -> None:
    strategy, operation = place
    cell = CELLS[place]
    session = linked("web", HELD)
    command = merge(*cell.offered, strategy=strategy, operations={operation}, priority=cell.priority)
    events = events_of(session, command)
    state = after(session, events)
    assert state.data == cell.data
    assert tuple(one.field for one in state.conflicts) == cell.conflicts
    assert tuple(one.field for event in events if isinstance(event, ContextMerged) for one in event.kept) == cell.kept
    assert any(isinstance(event, ConflictOpened) for event in events) == bool(cell.conflicts)
    assert all(event.identity == "ann" for event in events)
    unmoved = ("status", "address", "last_activity", "message_count", "profile")
    assert [getattr(state, name) for name in unmoved] == [getattr(session, name) for name in unmoved]
    assert events_of(state, command) == ()


@pytest.mark.parametrize("place", [place for place in TABLE if place[1] is not MERGE], ids=ids)
def test_what_is_not_allowed_is_left_out(place: tuple[ConflictStrategy, SyncOperation]) -> None:
    strategy, operation = place
    others = {CREATE, UPDATE, DELETE} - {operation}
    session = linked("web", HELD)
    offered = {CREATE: _NEW, UPDATE: _LATER, DELETE: _REMOVED}[operation]
    for operations in (others, set[SyncOperation]()):
        assert events_of(session, merge(*offered, strategy=strategy, operations=operations)) == ()


def test_the_table_is_whole() -> None:
    assert set(TABLE) == CELLS.keys()
    assert len(TABLE) == 16


# What the strategies make of differences


def held(data: dict[str, Any], at: float = 0) -> SessionState:
    return linked("web", data, at=at)


def merged(state: SessionState, *entries: Entry, **policy: Any) -> dict[str, Any]:
    return step(state, merge(*entries, **policy)).data


@pytest.mark.parametrize("strategy", [LATEST, FIELDS])
def test_the_later_write_stays(strategy: ConflictStrategy) -> None:
    state = held({"city": "Oslo"})
    assert merged(state, entry("/data/city", "Rome", stamp(1)), strategy=strategy) == {"city": "Rome"}
    assert events_of(state, merge(entry("/data/city", "Rome", stamp(-1)), strategy=strategy)) == ()


def test_an_object_goes_as_a_whole_by_key_and_is_kept_on_both_sides_by_field() -> None:
    state = held({"name": {"first": "Ann"}})
    offered = (entry("/data/name/last", "Lee", stamp(1)),)
    assert merged(state, *offered, strategy=LATEST) == {"name": {"last": "Lee"}}
    assert merged(state, *offered, strategy=FIELDS) == {"name": {"first": "Ann", "last": "Lee"}}


@pytest.mark.parametrize(
    ("seconds", "expected"), [(1, {"a": {"x": 1}}), (-1, {"a": 5})], ids=["the object is later", "the value is later"]
)
def test_a_value_and_an_object_in_its_place_are_not_there_together(seconds: float, expected: dict[str, Any]) -> None:
    assert merged(held({"a": 5}), entry("/data/a/x", 1, stamp(seconds)), strategy=FIELDS) == expected


def test_what_was_removed_with_its_key_does_not_come_back_by_an_earlier_write_below_it() -> None:
    state = step(held({"a": {"x": 1}}), SetData(remove=("a",)), NOW)
    assert state.data == {}
    assert merged(state, entry("/data/a/y", 2, stamp(-1)), strategy=FIELDS) == {}
    assert merged(state, entry("/data/a/y", 2, stamp(1)), strategy=FIELDS) == {"a": {"y": 2}}


def test_a_removal_that_comes_before_what_it_removes_still_removes_it() -> None:
    state = step(held({}), merge(gone("/data/a", stamp(3)), strategy=FIELDS))
    assert state.stamps["/data/a"] == stamp(3)
    assert merged(state, entry("/data/a", 1, stamp(2)), strategy=FIELDS) == {}


def test_the_platform_comes_before_the_time_and_those_that_are_not_named_last() -> None:
    order = (Platform.WEB, Platform.SLACK)
    slack, mail = entry("/data/city", "Rome", stamp(9)), entry("/data/city", "Bonn", stamp(99, "email"))
    state = held({})
    for offered in (mail, slack):
        state = step(state, merge(offered, strategy=PRIORITY, priority=order))
    assert state.data == {"city": "Rome"}
    assert merged(state, mail, strategy=PRIORITY, priority=order) == {"city": "Rome"}
    assert merged(state, mail, strategy=LATEST) == {"city": "Bonn"}


def test_what_is_kept_is_told_once_and_to_whom_it_replaces() -> None:
    command = merge(entry("/data/city", "Rome", stamp(9)), strategy=PRIORITY, priority=(Platform.WEB,))
    state = held({"city": "Oslo"})
    (event,) = events_of(state, command)
    assert isinstance(event, ContextMerged)
    (kept,) = event.kept
    assert (kept.field, kept.value, kept.stamp, kept.base) == (
        "/data/city", "Oslo", state.stamps["/data/city"], stamp(9),
    )  # fmt: skip
    told = after(state, [event])
    assert events_of(told, command) == ()
    later = merge(entry("/data/city", "Bonn", stamp(10)), strategy=PRIORITY, priority=(Platform.WEB,))
    assert len(events_of(told, later)) == 1


def test_the_one_who_was_told_takes_it_and_says_nothing_more() -> None:
    """No ping-pong: a change, an answer, and silence."""
    policy: dict[str, Any] = {"strategy": PRIORITY, "priority": (Platform.WEB, Platform.SLACK)}
    web, slack = linked("web", {"city": "Oslo"}), linked("slack", {"city": "Rome"}, at=5)
    (answer,) = events_of(web, merge(entry("/data/city", "Rome", slack.stamps["/data/city"]), **policy))
    assert isinstance(answer, ContextMerged)
    (taken,) = events_of(slack, merge(*answer.kept, source="web", **policy))
    assert isinstance(taken, ContextMerged)
    assert (taken.kept, after(slack, [taken]).data) == ((), {"city": "Oslo"})


SLACK_FIRST: dict[str, Any] = {"strategy": PRIORITY, "priority": (Platform.SLACK,)}
_ABOVE = entry("/data/a", 1, stamp(0, "slack"))
_BELOW = entry("/data/a/x", 2, stamp(5, "email"))


def test_sessions_that_were_given_the_same_by_two_strategies_agree_by_the_last() -> None:
    """By one, what was written later covers what it is below; by the other, what outranks it covers that."""
    by_time = step(linked("web"), merge(_ABOVE, _BELOW, source="slack", strategy=FIELDS))
    by_rank = step(linked("irc"), merge(_ABOVE, _BELOW, source="slack", **SLACK_FIRST))
    assert (by_time.data, by_rank.data) == ({"a": {"x": 2}}, {"a": 1})

    told = step(by_time, merge(*entries_of(by_rank), source="irc", **SLACK_FIRST))

    assert told.data == by_rank.data


def test_a_key_whose_values_are_all_of_a_later_writer_is_not_the_earlier_ones() -> None:
    """What was covered from above was removed by that write, so a ranking of channels does not take it for its own."""
    inside, whole = entry("/data/a/x", 1, stamp(0, "slack")), entry("/data/a", 2, stamp(5, "email"))
    covered = step(linked("web"), merge(inside, source="slack", strategy=FIELDS))
    covered = step(covered, merge(whole, source="email", strategy=FIELDS))
    assert covered.data == {"a": 2}
    assert covered.stamps["/data/a/x"] == whole.stamp

    told = step(covered, merge(inside, source="slack", **SLACK_FIRST))

    assert told.data == {"a": {"x": 1}}
