"""Conflicts: when there is one, what choosing does, and that nothing is chosen for anybody."""

from datetime import timedelta
from typing import Any

import pytest

from agentbus.contracts.address import Platform
from agentbus.contracts.commands import ResolveConflict, SetData
from agentbus.contracts.errors import AccessDenied, LimitExceeded
from agentbus.contracts.events import ConflictOpened, ConflictResolved, ContextMerged
from agentbus.contracts.session import SessionState
from agentbus.contracts.sync import ConflictStrategy, Entry, Resolution, SyncOperation
from agentbus.workers.domain.sync.fields import written
from tests.harness.conversations import NOW
from tests.harness.linked import after, entry, events_of, gone, linked, merge, stamp, step

MANUAL = ConflictStrategy.MANUAL
ROME = entry("/data/city", "Rome", stamp(5))


def web(data: dict[str, Any] | None = None) -> SessionState:
    return linked("web", {"city": "Oslo"} if data is None else data)


def offer(state: SessionState, *entries: Entry, source: str = "slack") -> SessionState:
    return step(state, merge(*entries, strategy=MANUAL, source=source))


def resolve(
    state: SessionState, resolution: Resolution, *fields: str, now: float = 60
) -> tuple[SessionState, ConflictResolved]:
    (event,) = events_of(state, ResolveConflict(resolution=resolution, fields=fields), NOW + timedelta(seconds=now))
    assert isinstance(event, ConflictResolved)
    return after(state, [event]), event


TAKE, KEEP = Resolution(take_offered=True), Resolution(take_offered=False)


def test_a_conflict_says_what_is_held_and_what_is_offered() -> None:
    state = web()
    (event,) = events_of(state, merge(ROME, strategy=MANUAL))
    assert isinstance(event, ConflictOpened)
    (conflict,) = after(state, [event]).conflicts
    assert conflict.field == "/data/city"
    assert conflict.held is not None
    assert (conflict.held.value, conflict.held.stamp) == ("Oslo", state.stamps["/data/city"])
    assert (conflict.offered, conflict.opened_at) == (ROME, NOW)
    assert after(state, [event]).clock == ROME.stamp


def test_who_saw_what_is_held_may_overwrite_it() -> None:
    state = web()
    seen = entry("/data/city", "Rome", stamp(5), base=state.stamps["/data/city"])
    assert (offer(state, seen).data, offer(state, seen).conflicts) == ({"city": "Rome"}, ())


def test_the_writer_of_what_is_held_may_overwrite_it_and_its_earlier_writes_are_passed_over() -> None:
    state = offer(web({}), ROME)
    assert offer(state, entry("/data/city", "Bonn", stamp(6))).data == {"city": "Bonn"}
    assert offer(state, entry("/data/city", "Bonn", stamp(4))) == state


def test_the_same_value_is_no_conflict() -> None:
    state = offer(web(), entry("/data/city", "Oslo", stamp(5)))
    assert (state.conflicts, state.stamps["/data/city"]) == ((), stamp(5))


@pytest.mark.parametrize(("held", "offered"), [(1, True), (False, 0), ([1], [True])])
def test_what_python_alone_takes_for_the_same_is_a_conflict(held: Any, offered: Any) -> None:
    state = offer(web({"n": held}), entry("/data/n", offered, stamp(5)))
    assert [one.field for one in state.conflicts] == ["/data/n"]
    assert [one.field for one in step(state, SetData(values={"n": held})).conflicts] == ["/data/n"]
    assert step(state, SetData(values={"n": offered})).conflicts == ()


def test_what_was_removed_here_is_held_as_removed() -> None:
    state = step(web(), SetData(remove=("city",)))
    (conflict,) = offer(state, ROME).conflicts
    assert conflict.held is not None
    assert conflict.held.removed
    assert resolve(offer(state, ROME), KEEP)[0].data == {}
    assert resolve(offer(state, ROME), TAKE)[0].data == {"city": "Rome"}


@pytest.mark.parametrize(
    ("held", "offered", "taken"),
    [
        ({"a": 5}, entry("/data/a/x", 1, stamp(5)), {"a": {"x": 1}}),
        ({"a": {"x": 1}}, entry("/data/a", 5, stamp(5)), {"a": 5}),
        ({"a": {"x": 1}}, gone("/data/a", stamp(5)), {}),
    ],
    ids=["below", "above", "removed above"],
)
def test_what_would_cover_another_value_is_a_conflict_too(
    held: dict[str, Any], offered: Entry, taken: dict[str, Any]
) -> None:
    state = offer(web(held), offered)
    (conflict,) = state.conflicts
    assert (state.data, conflict.held) == (held, None)
    kept, event = resolve(state, KEEP)
    assert (kept.data, kept.conflicts) == (held, ())
    assert all(one.stamp > offered.stamp for one in event.entries)
    assert resolve(state, TAKE)[0].data == taken


def test_a_value_that_makes_place_for_an_object_is_no_conflict_for_who_saw_it() -> None:
    one = web({"a": 5})
    two = step(linked("slack"), merge(entry("/data/a", 5, one.stamps["/data/a"]), source="web"))
    (wrote,) = events_of(two, SetData(values={"a": {"x": 1}}))
    assert wrote.kind == "data_set"
    state = offer(one, *written(wrote))
    assert (state.data, state.conflicts) == ({"a": {"x": 1}}, ())


def test_two_writers_are_two_conflicts_and_a_writers_later_offer_takes_the_place_of_its_earlier_one() -> None:
    state = offer(web(), ROME)
    state = offer(state, entry("/data/city", "Bonn", stamp(6, "email")), source="email")
    state = offer(state, entry("/data/city", "Turin", stamp(7)))
    assert [one.offered.value for one in state.conflicts] == ["Bonn", "Turin"]
    assert offer(state, ROME) == state
    assert resolve(state, TAKE)[0].data == {"city": "Turin"}


def test_two_offers_of_one_writer_in_one_command_are_one_conflict() -> None:
    state = offer(web(), entry("/data/city", "Turin", stamp(7)), ROME)
    assert [one.offered.value for one in state.conflicts] == ["Turin"]


def test_of_two_writes_that_come_in_the_wrong_order_the_later_is_taken_once_the_earlier_explains_it() -> None:
    state = web()
    first = entry("/data/city", "Rome", stamp(5), base=state.stamps["/data/city"])
    second = entry("/data/city", "Turin", stamp(6), base=stamp(5))
    waiting = offer(state, second)
    assert len(waiting.conflicts) == 1
    explained = offer(waiting, first)
    assert (explained.data, explained.conflicts) == ({"city": "Turin"}, ())


def test_a_choice_is_written_anew_and_wins_wherever_it_comes() -> None:
    for resolution, expected in ((TAKE, "Rome"), (KEEP, "Oslo")):
        state, event = resolve(offer(web(), ROME), resolution)
        (choice,) = event.entries
        assert (state.data, state.conflicts) == ({"city": expected}, ())
        assert choice.stamp == state.clock
        assert choice.stamp > max(ROME.stamp, stamp(0, "web"))
        there = linked("slack", {"city": "Rome"}, at=5)
        for strategy in (ConflictStrategy.LATEST_WINS, ConflictStrategy.MERGE, MANUAL):
            told = step(there, merge(choice, strategy=strategy, source="web"), NOW + timedelta(seconds=61))
            assert (told.data, told.conflicts) == ({"city": expected}, ())


def test_where_the_choice_comes_the_conflict_about_it_is_over() -> None:
    slack = step(linked("slack", {"city": "Rome"}, at=5), merge(*written_of(web()), strategy=MANUAL, source="web"))
    assert len(slack.conflicts) == 1
    _, event = resolve(offer(web(), ROME), TAKE)
    told = step(
        slack, merge(*event.entries, strategy=ConflictStrategy.MERGE, source="web"), NOW + timedelta(seconds=61)
    )
    assert (told.data, told.conflicts) == ({"city": "Rome"}, ())


def written_of(state: SessionState) -> tuple[Entry, ...]:
    return tuple(entry(field, state.data["city"], at) for field, at in state.stamps.items())


@pytest.mark.parametrize(
    ("strategy", "priority", "expected"),
    [
        (ConflictStrategy.LATEST_WINS, (), "Rome"),
        (ConflictStrategy.MERGE, (), "Rome"),
        (ConflictStrategy.SOURCE_PRIORITY, (Platform.WEB,), "Oslo"),
        (ConflictStrategy.SOURCE_PRIORITY, (Platform.SLACK,), "Rome"),
    ],
)
def test_a_rule_can_choose(strategy: ConflictStrategy, priority: tuple[Platform, ...], expected: str) -> None:
    state, _ = resolve(offer(web(), ROME), Resolution(strategy=strategy, priority=priority))
    assert state.data == {"city": expected}


def test_only_the_fields_that_are_named_are_resolved() -> None:
    state = offer(web({"city": "Oslo", "mood": "bad"}), ROME, entry("/data/mood", "good", stamp(5)))
    left, _ = resolve(state, TAKE, "/data/mood")
    assert (left.data, [one.field for one in left.conflicts]) == ({"city": "Oslo", "mood": "good"}, ["/data/city"])
    assert events_of(left, ResolveConflict(resolution=TAKE, fields=("/data/mood", "/data/other"))) == ()


def test_a_resolved_conflict_is_not_opened_again_by_a_repeat() -> None:
    state, _ = resolve(offer(web(), ROME), KEEP)
    assert offer(state, ROME) == state
    assert len(offer(state, entry("/data/city", "Turin", stamp(70))).conflicts) == 1


def test_a_write_of_ones_own_is_no_choice_unless_it_is_what_was_offered() -> None:
    state = step(offer(web(), ROME), SetData(values={"city": "Bergen"}), NOW + timedelta(seconds=9))
    (conflict,) = state.conflicts
    assert conflict.held is not None
    assert (conflict.held.value, conflict.offered) == ("Bergen", ROME)
    assert step(state, SetData(values={"city": "Rome"})).conflicts == ()


def test_whoever_resolves_has_to_own_the_session() -> None:
    state = offer(web(), ROME)
    command = ResolveConflict(resolution=TAKE)
    assert len(events_of(state, command.model_copy(update={"actor": "ada"}))) == 1
    with pytest.raises(AccessDenied):
        events_of(state, command.model_copy(update={"actor": "eve"}))


def test_there_is_a_limit_to_open_conflicts() -> None:
    held = {f"k{number}": 0 for number in range(1001)}
    offered = tuple(entry(f"/data/k{number}", 1, stamp(5)) for number in range(1001))
    with pytest.raises(LimitExceeded, match="resolve some first"):
        events_of(web(held), merge(*offered, strategy=MANUAL))
    (event,) = events_of(web(held), merge(*offered[:1000], strategy=MANUAL))
    assert event.kind == "conflict_opened"


def test_what_may_not_be_done_is_not_asked_about_either() -> None:
    command = merge(ROME, strategy=MANUAL, operations={SyncOperation.CREATE})
    assert events_of(web(), command) == ()


def test_a_merge_that_brings_some_and_asks_about_some_is_two_events() -> None:
    merged, opened = events_of(web(), merge(ROME, entry("/data/mood", "good", stamp(5)), strategy=MANUAL))
    assert isinstance(merged, ContextMerged)
    assert isinstance(opened, ConflictOpened)
    assert [one.field for one in merged.applied] == ["/data/mood"]
