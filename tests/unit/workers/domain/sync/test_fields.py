"""Fields, their stamps, and the clock that these come from."""

from datetime import timedelta
from typing import Any

import pytest

from agentbus.contracts.address import Platform
from agentbus.contracts.changes import FieldChanges
from agentbus.contracts.commands import (
    CreateSession,
    LinkIdentity,
    ResetSession,
    SetData,
    SetMetadata,
    UnlinkIdentity,
    UpdateSession,
)
from agentbus.contracts.errors import LimitExceeded
from agentbus.contracts.events import DataSet, MetadataSet, SessionStarted
from agentbus.contracts.session import SessionState
from agentbus.contracts.stamps import milliseconds_of, next_stamp, origin_of, platform_of
from agentbus.contracts.sync import ConflictStrategy
from agentbus.workers.domain.checks.limits import MAX_FIELD_LENGTH
from agentbus.workers.domain.sync.fields import (
    above,
    entries_of,
    first_stamp,
    key_of,
    keys_of,
    leaves,
    registers_of,
    written,
)
from agentbus.workers.domain.sync.stamped import MAX_REMOVED
from tests.harness.conversations import NOW, address, message
from tests.harness.linked import ANN, after, conversation, entry, events_of, linked, merge, stamp, step

HOUR = timedelta(hours=1)

# Pointers


@pytest.mark.parametrize(
    ("values", "fields"),
    [
        ({}, {}),
        ({"a": 1}, {"/data/a": 1}),
        ({"a": {"b": {"c": None}}, "d": []}, {"/data/a/b/c": None, "/data/d": []}),
        ({"a": {}}, {"/data/a": {}}),
        ({"a": [{"b": 1}]}, {"/data/a": [{"b": 1}]}),
        ({"x/y": {"~": 1, "": 2}}, {"/data/x~1y/~0": 1, "/data/x~1y/": 2}),
        ({"": {"": 0}}, {"/data//": 0}),
        ({"~1": 1}, {"/data/~01": 1}),
    ],
)
def test_a_field_is_a_leaf_by_its_pointer(values: dict[str, Any], fields: dict[str, Any]) -> None:
    assert leaves("data", values) == fields
    state = step(linked(), SetData(values=values))
    assert (state.data, state.stamps.keys()) == (values, fields.keys())
    empty = linked("slack")
    told = step(empty, merge(*entries_of(state), source="web", strategy=ConflictStrategy.MERGE))
    assert told.data == values


def test_a_pointer_leads_through_its_keys() -> None:
    assert keys_of("/data/x~1y/~01") == ["data", "x/y", "~1"]
    assert [key_of(field) for field in ("/data/a", "/data/a/b/c", "/data/", "/data//x")] == [
        "/data/a", "/data/a", "/data/", "/data/",
    ]  # fmt: skip
    assert list(above("/data/a/b/c")) == ["/data/a/b", "/data/a"]
    assert list(above("/data/a")) == list(above("/data/")) == []
    assert list(above("/data//")) == ["/data/"]


# Writes


def test_a_write_stamps_its_fields_and_says_what_it_replaces() -> None:
    state = linked("web", {"a": {"x": 1, "y": 2}, "b": 1})
    before = state.stamps["/data/b"]
    (event,) = events_of(state, SetData(values={"a": {"x": 3}, "c": 4}, remove=("b",)))
    assert isinstance(event, DataSet)
    assert event.stamp is not None
    assert event.bases == dict.fromkeys(("/data/a/x", "/data/a/y", "/data/b"), before)
    now = after(state, [event])
    assert set(now.stamps.values()) == {event.stamp}
    assert now.stamps.keys() == {"/data/a/x", "/data/a/y", "/data/b", "/data/c"}
    assert now.clock == event.stamp
    removed = {field for field, one in registers_of(now).items() if one.removed}
    assert removed == {"/data/a/y", "/data/b"}


def test_what_an_event_wrote_is_what_the_state_has_by_it() -> None:
    state = linked("web", {"a": {"b": {"x": 1}, "c": 1}, "d": {"e": {"f": 1}}})
    (event,) = events_of(state, SetData(values={"a": {"b": 5}}, remove=("d",)))
    assert isinstance(event, DataSet)
    told = {one.field: (one.removed, one.value, one.base) for one in written(event)}
    first = state.stamps["/data/a/c"]
    assert told == {
        "/data/a/b": (False, 5, None),
        "/data/a/b/x": (True, None, first),
        "/data/a/c": (True, None, first),
        "/data/d/e/f": (True, None, first),
        "/data/d/e": (True, None, None),
        "/data/d": (True, None, None),
    }
    assert {one.field: one.stamp for one in written(event)} == after(state, [event]).stamps
    unstamped = event.model_copy(update={"stamp": None})
    assert written(unstamped) == ()


def test_data_and_metadata_have_stamps_of_their_own_in_one_command() -> None:
    change = UpdateSession(data=FieldChanges(values={"a": 1}), metadata=FieldChanges(values={"a": 2}))
    state = linked()
    first, second = events_of(state, change)
    assert isinstance(first, DataSet)
    assert isinstance(second, MetadataSet)
    assert "" < (first.stamp or "") < (second.stamp or "")
    assert step(state, change).stamps.keys() == {"/data/a", "/metadata/a"}


def test_a_session_that_begins_with_data_stamps_it() -> None:
    (event,) = events_of(
        SessionState.empty(conversation("web")), CreateSession(address=address(), data={"a": 1}, metadata={"b": 2})
    )
    assert isinstance(event, SessionStarted)
    assert event.stamp is not None
    assert (origin_of(event.stamp), platform_of(event.stamp)) == (conversation("web"), "telegram")
    state = after(SessionState.empty(conversation("web")), [event])
    assert state.stamps == {"/data/a": event.stamp, "/metadata/b": event.stamp}


def test_a_session_without_data_and_a_write_of_nothing_have_no_stamp() -> None:
    for data in (message(1), CreateSession(address=address())):
        started = events_of(SessionState.empty(conversation("web")), data)[0]
        assert isinstance(started, SessionStarted)
        assert started.stamp is None
    state = linked()
    (event,) = events_of(state, SetData())
    assert isinstance(event, DataSet)
    assert (event.stamp, after(state, [event]).clock) == (None, state.clock)


def test_who_was_never_linked_does_not_remember_what_it_removed() -> None:
    state = step(SessionState.empty(conversation("alone")), CreateSession(address=address(), data={"a": {"x": 1}}))
    assert step(state, SetData(remove=("a",))).stamps == {}
    assert step(state, SetData(values={"a": 1})).stamps.keys() == {"/data/a"}


def test_who_was_linked_remembers_what_it_removed_since_and_it_does_not_come_back_with_the_link() -> None:
    here, there = linked("web", {"a": {"x": 1}}, at=1), linked("slack")
    there = step(there, merge(*entries_of(here), source="web"))
    here = step(here, UnlinkIdentity(identity=ANN))
    here = step(here, SetData(remove=("a",)), NOW + timedelta(seconds=2))
    here = step(here, LinkIdentity(identity=ANN))
    assert step(here, merge(*entries_of(there))).data == {}
    assert step(there, merge(*entries_of(here), source="web")).data == {}
    anew = step(step(here, UnlinkIdentity(identity=ANN)), ResetSession())
    assert not anew.unlinked, "a session that begins has shared nothing yet"


def test_so_many_removed_fields_are_remembered_and_the_first_ones_forgotten() -> None:
    state = linked()
    for number, half in enumerate(range(0, 2 * MAX_REMOVED, MAX_REMOVED)):
        keys = tuple(f"k{half + place:04d}" for place in range(MAX_REMOVED))
        now = NOW + timedelta(seconds=number)
        state = step(state, SetData(values=dict.fromkeys(keys, 0) | {"stays": 1}), now)
        state = step(state, SetData(remove=keys), now)
    assert state.data == {"stays": 1}
    assert len(state.stamps) == MAX_REMOVED + 1
    assert "/data/k0000" not in state.stamps
    assert "/data/stays" in state.stamps


def test_a_new_session_removes_nothing_elsewhere_and_its_clock_goes_on() -> None:
    state = linked("web", {"a": 1})
    again = step(state, ResetSession(), NOW - HOUR)
    assert (again.generation, again.data, again.stamps, again.clock) == (2, {}, {}, state.clock)
    assert entries_of(again) == ()
    told = step(again, merge(*entries_of(state), source="slack", strategy=ConflictStrategy.MERGE))
    assert told.data == {"a": 1}
    assert step(again, SetData(values={"a": 2}), NOW - HOUR).stamps["/data/a"] > state.stamps["/data/a"]


# Clocks


def test_a_session_whose_clock_is_an_hour_behind_wins_once_it_has_seen_the_others_write() -> None:
    """Its partition went to a worker with another clock between the two."""
    slow, quick = linked("web", {"city": "Oslo"}), linked("slack")
    quick = step(quick, SetData(values={"city": "Rome"}), NOW + timedelta(minutes=4))
    slow = step(slow, merge(*entries_of(quick)))
    assert slow.data == {"city": "Rome"}
    (wrote,) = events_of(slow, SetData(values={"city": "Bonn"}), NOW - HOUR)
    assert isinstance(wrote, DataSet)
    assert wrote.at == NOW - HOUR
    assert (wrote.stamp or "") > quick.stamps["/data/city"]
    for strategy in (ConflictStrategy.LATEST_WINS, ConflictStrategy.MERGE):
        told = step(quick, merge(*written(wrote), source="web", strategy=strategy))
        assert told.data == {"city": "Bonn"}


@pytest.mark.parametrize("strategy", ConflictStrategy)
def test_what_was_offered_and_not_taken_counts_as_seen(strategy: ConflictStrategy) -> None:
    state = linked("web", {"city": "Oslo"}, at=10)
    offered = entry("/data/city", "Rome", stamp(60))
    state = step(state, merge(offered, strategy=strategy, priority=(Platform.WEB,)))
    (wrote,) = events_of(state, SetData(values={"city": "Bonn"}), NOW - HOUR)
    assert isinstance(wrote, DataSet)
    assert (wrote.stamp or "") > offered.stamp


def test_stamps_count_on_within_a_millisecond_and_over_the_end_of_the_count() -> None:
    first = next_stamp(None, NOW, "web", conversation("web"))
    second = next_stamp(first, NOW, "web", conversation("web"))
    assert (milliseconds_of(second), first < second) == (milliseconds_of(first), True)
    full = type(first)(first.replace(".000000.", ".999999."))
    over = next_stamp(full, NOW - HOUR, None, conversation("web"))
    assert milliseconds_of(over) == milliseconds_of(first) + 1
    assert over > full


@pytest.mark.parametrize("strategy", ConflictStrategy)
@pytest.mark.parametrize("ahead", [300.0, 86_400.0, 10.0**11])
def test_a_clock_that_was_ahead_for_one_write_stops_nothing(strategy: ConflictStrategy, ahead: float) -> None:
    """What it wrote is taken over, and what either side writes after it by a right clock goes to the other."""
    web, slack = linked("web"), linked("slack")

    def told(target: SessionState, source: SessionState) -> SessionState:
        name = "web" if source is web else "slack"
        command = merge(*entries_of(source), source=name, strategy=strategy)
        return step(target, command, NOW + timedelta(seconds=3))

    web = step(web, SetData(values={"k": 0}), NOW + timedelta(seconds=ahead))
    slack = told(slack, web)
    assert slack.data == {"k": 0}
    slack = step(slack, SetData(values={"k": 1}), NOW + timedelta(seconds=1))
    slack = step(slack, SetData(values={"other": 1}), NOW + timedelta(seconds=1))
    if strategy is ConflictStrategy.MANUAL:
        return  # who saw what is not among the entries of a head
    web = told(web, slack)
    assert web.data == slack.data == {"k": 1, "other": 1}
    web = step(web, SetData(remove=("k",)), NOW + timedelta(seconds=2))
    assert told(slack, web).data == web.data == {"other": 1}


# What was there before there were stamps


def test_fields_without_a_stamp_count_as_written_when_their_session_began() -> None:
    state = linked("web", {"a": 1}).model_copy(update={"stamps": {}, "clock": None})
    (held,) = entries_of(state)
    assert (held.stamp, held.value) == (first_stamp(state), 1)
    assert milliseconds_of(held.stamp) == int(NOW.timestamp() * 1000)
    assert step(state, merge(entry("/data/a", 2, stamp(-1)))) == state
    told = step(state, merge(entry("/data/a", 2, stamp(1))))
    assert (told.data, told.stamps) == ({"a": 2}, {"/data/a": stamp(1)})
    (event,) = events_of(state, SetData(remove=("a",)))
    assert isinstance(event, DataSet)
    assert event.bases == {"/data/a": first_stamp(state)}


# Limits


def test_a_field_whose_keys_are_too_long_together_is_refused() -> None:
    deep: dict[str, Any] = {"a" * 2000: {"b" * 2000: {"c" * 100: 1}}}
    for command in (SetData(values=deep), SetMetadata(values=deep)):
        with pytest.raises(LimitExceeded, match=f"more than {MAX_FIELD_LENGTH} characters"):
            events_of(linked(), command)
    with pytest.raises(LimitExceeded):
        events_of(linked(), CreateSession(data=deep))


def test_more_fields_than_stamps_can_be_kept_of_are_refused() -> None:
    """A key of 400 characters is in the pointers of all the fields below it."""
    state, fields = linked(), dict.fromkeys(map(str, range(4000)), 0)
    state = step(state, SetMetadata(values={"x" * 400: fields}))
    with pytest.raises(LimitExceeded, match="8000 fields, more than can be told apart"):
        events_of(state, SetMetadata(values={"y" * 400: fields}))


def test_a_merge_may_not_make_a_session_too_large_or_too_deep() -> None:
    large = tuple(entry(f"/data/k{number}", "x" * 250_000, stamp(1)) for number in range(5))
    with pytest.raises(LimitExceeded, match="the session's data would be about"):
        events_of(linked(), merge(*large))
    with pytest.raises(LimitExceeded, match="nested deeper"):
        events_of(linked(), merge(entry("/data" + "/x" * 40, 1, stamp(1))))
