"""Laws of merging: order and repetition do not matter, and nobody's choice is made for them."""

from datetime import timedelta
from typing import Any

from hypothesis import given as over
from hypothesis import strategies as st

from agentbus.contracts.address import Platform
from agentbus.contracts.commands import ResolveConflict, SetData, SetMetadata
from agentbus.contracts.events import ConflictOpened, ContextMerged, DataSet
from agentbus.contracts.session import SessionState
from agentbus.contracts.stamps import origin_of
from agentbus.contracts.sync import ConflictStrategy, Entry, Resolution
from agentbus.workers.domain.sync.fields import entries_of, leaves, registers_of, written
from agentbus.workers.domain.sync.merging import passed_on
from tests.harness.conversations import NOW
from tests.harness.linked import context, entry, events_of, gone, linked, merge, stamp, step

FIELDS = (
    "/data/a", "/data/a/x", "/data/a/y", "/data/a/x/p", "/data/a/x/q", "/data/b", "/data/~1~0/x", "/metadata/a",
    "/metadata/a/x", "/metadata/",
)  # fmt: skip
WRITERS = ("slack", "email", "web", "irc")
OURS = ("web", "irc")
PRIORITIES: tuple[tuple[Platform, ...], ...] = (
    (), (Platform.EMAIL,), (Platform.WEB, Platform.SLACK), (Platform.IRC, Platform.EMAIL, Platform.SLACK),
)  # fmt: skip

values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.just({}) | st.lists(st.integers(0, 1), max_size=2),
    lambda inner: st.dictionaries(st.sampled_from(["x", "y", "p", "/", "~"]), inner, max_size=2),
    max_leaves=6,
)
objects = st.dictionaries(st.sampled_from(["a", "b", "c", "/~", ""]), values, max_size=3)


@st.composite
def offers(draw: st.DrawFn) -> list[Entry]:
    """Return entries that some sessions wrote: of one field and stamp there is one value.

    What the two sessions write that the laws begin with, `OURS`, they write at full seconds, and here at other times.
    """
    writes = draw(st.sets(st.tuples(st.sampled_from(WRITERS), st.integers(-3, 6), st.sampled_from(FIELDS)), max_size=9))
    made = []
    for writer, second, field in sorted(writes):
        at = stamp(second + 0.5 if writer in OURS else second, writer)
        value: Any = draw(st.integers(0, 3) | st.just({}) | st.just([1]))
        made.append(gone(field, at) if draw(st.booleans()) else entry(field, value, at))
    return made


@st.composite
def commands(draw: st.DrawFn) -> list[tuple[str, tuple[Entry, ...]]]:
    """Return what several sessions send: each some of what was written, some of it by others."""
    made = draw(offers())
    if not made:
        return []
    some = st.lists(st.sampled_from(made), min_size=1, max_size=4, unique_by=lambda one: (one.field, one.stamp))
    return draw(st.lists(st.tuples(st.sampled_from(WRITERS), some.map(tuple)), max_size=5))


@st.composite
def sessions(draw: st.DrawFn) -> SessionState:
    """Return a linked session that has written some things itself, some of them over others."""
    state = linked("web")
    for _ in range(draw(st.integers(0, 3))):
        now = NOW + timedelta(seconds=draw(st.integers(-2, 4)))
        values, removed = draw(objects), draw(st.lists(st.sampled_from(["a", "b"]), max_size=1).map(tuple))
        data, metadata = SetData(values=values, remove=removed), SetMetadata(values=values, remove=removed)
        state = step(state, data if draw(st.booleans()) else metadata, now)
    return state


def received(
    state: SessionState, sent: list[tuple[str, tuple[Entry, ...]]], **policy: Any
) -> tuple[SessionState, list[object]]:
    """Return the state after all of `sent`, and the events on the way."""
    events: list[object] = []
    for source, entries in sent:
        command = merge(*entries, source=source, **policy)
        events += events_of(state, command)
        state = step(state, command)
    return state, events


shuffled = st.randoms(use_true_random=False)


@over(sessions(), commands(), shuffled, st.sampled_from([ConflictStrategy.LATEST_WINS, ConflictStrategy.MERGE]))
def test_latest_wins_and_merge_do_not_depend_on_order_or_repetition(
    state: SessionState, sent: list[tuple[str, tuple[Entry, ...]]], chance: Any, strategy: ConflictStrategy
) -> None:
    first, _ = received(state, sent, strategy=strategy)
    again = [one for one in sent for _ in range(chance.randint(1, 3))]
    chance.shuffle(again)
    second, _ = received(state, again, strategy=strategy)
    assert context(first) == context(second)
    assert received(first, sent, strategy=strategy)[1] == []


@over(sessions(), commands(), shuffled, st.sampled_from(PRIORITIES))
def test_source_priority_does_not_depend_on_order_and_is_answered_once(
    state: SessionState, sent: list[tuple[str, tuple[Entry, ...]]], chance: Any, priority: tuple[Platform, ...]
) -> None:
    """What outranks something that was taken before is told to its writer when that comes again, and not once more."""
    policy = {"strategy": ConflictStrategy.SOURCE_PRIORITY, "priority": priority}
    first, _ = received(state, sent, **policy)
    other = [*sent, *sent]
    chance.shuffle(other)
    second, _ = received(state, other, **policy)
    assert context(first) == context(second)
    third, _ = received(first, sent, **policy)
    assert context(third) == context(first)
    assert received(third, sent, **policy) == (third, [])


@over(sessions(), commands(), st.sampled_from(PRIORITIES), st.sampled_from(ConflictStrategy))
def test_two_sessions_that_tell_each_other_all_come_to_the_same(
    state: SessionState,
    sent: list[tuple[str, tuple[Entry, ...]]],
    priority: tuple[Platform, ...],
    before: ConflictStrategy,
) -> None:
    """Whatever each of them has received before; if by another strategy, once they have told each other twice."""
    earlier = {"strategy": before, "priority": priority}
    for strategy in (ConflictStrategy.LATEST_WINS, ConflictStrategy.MERGE, ConflictStrategy.SOURCE_PRIORITY):
        policy = {"strategy": strategy, "priority": priority}
        one, _ = received(state, sent[::2], **earlier)
        two, _ = received(linked("irc", {"a": {"x": 5}}, at=1), sent[1::2], **earlier)
        for _ in range(1 if before == strategy else 2):
            back = entries_of(two)
            two, _ = received(two, [("web", entries_of(one))], **policy)
            one, _ = received(one, [("irc", back)], **policy)
        assert (one.data, one.metadata) == (two.data, two.metadata)
        assert received(one, [("irc", entries_of(two))], **policy)[1] == []


class Linked:
    """Sessions that are linked; what they pass on comes in any order, and is answered."""

    def __init__(self, chance: Any, **policy: Any) -> None:
        self.chance, self.policy = chance, policy
        self.states = {name: linked(name) for name in WRITERS}
        self.due: dict[str, None] = {}
        """Who wrote something since they last passed on what they have."""
        self.sent: list[tuple[str, str, tuple[Entry, ...]]] = []
        """From whom, to whom, what."""
        self._second = self._writes = 0

    def write(self, name: str, *, batch: bool) -> None:
        """Let a session set a key, or remove one; that goes to the others now, or with what is due."""
        self._second += self.chance.choice((0, 1))
        key, value = self.chance.choice("aaaab"), self.chance.choice((1, 2, {"x": 1}, {"x": {"p": 1}}))
        command = SetData(remove=(key,)) if self.chance.random() < 0.3 else SetData(values={key: value})
        now = NOW + timedelta(seconds=self._second)
        self._writes += 1
        (event,) = events_of(self.states[name], command, now, f"write {self._writes}")
        assert isinstance(event, DataSet)
        self.states[name] = step(self.states[name], command, now, f"write {self._writes}")
        if batch:
            self.due[name] = None
        else:
            self._to_others(name, written(event))

    def pass_on(self, name: str) -> None:
        """Let a session pass on what it has of its own, if something is due."""
        if name in self.due:
            del self.due[name]
            self._to_others(name, passed_on(self.states[name], self.policy["strategy"], own=True))

    def deliver(self) -> None:
        """Let something that is under way come, with luck not for the last time."""
        if not self.sent:
            return
        source, target, entries = self.sent.pop(self.chance.randrange(len(self.sent)))
        if self.chance.random() < 0.2:
            self.sent.append((source, target, entries))
        state, events = received(self.states[target], [(source, entries)], **self.policy)
        self.states[target] = state
        answers = [event.kept for event in events if isinstance(event, ContextMerged) and event.kept]
        self.sent += [(target, source, answer) for answer in answers]

    def settle(self) -> None:
        """Let all come that is due or under way."""
        for _ in range(2000):
            if self.due and self.chance.random() < 0.2:
                self.pass_on(self.chance.choice(sorted(self.due)))
            self.deliver()
            if not (self.due or self.sent):
                return
        raise AssertionError("it goes on for ever")

    def _to_others(self, name: str, entries: tuple[Entry, ...]) -> None:
        self.sent += [(name, other, entries) for other in WRITERS if other != name and entries]


STRATEGIES = (ConflictStrategy.LATEST_WINS, ConflictStrategy.MERGE, *(ConflictStrategy.SOURCE_PRIORITY,) * 4)


@over(st.randoms(use_true_random=True), st.sampled_from(STRATEGIES), st.sampled_from(PRIORITIES), st.booleans())
def test_sessions_that_pass_on_at_once_or_in_batches_come_to_the_same(
    chance: Any, strategy: ConflictStrategy, priority: tuple[Platform, ...], batch: bool
) -> None:
    """Also who has written over what outranks it, and was overwritten before it told anybody."""
    people = Linked(chance, strategy=strategy, priority=priority)
    for _ in range(6):
        for name in chance.sample(WRITERS, chance.randint(1, 3)):
            people.write(name, batch=batch)
            if chance.random() < 0.5:
                people.pass_on(name)
            for _ in range(chance.randint(0, 3)):
                people.deliver()
        people.settle()
        first, *others = people.states.values()
        assert all((one.data, one.metadata) == (first.data, first.metadata) for one in others)


@over(sessions(), commands())
def test_manual_overwrites_nothing_that_the_writer_did_not_see(
    state: SessionState, sent: list[tuple[str, tuple[Entry, ...]]]
) -> None:
    """No offer has a base here: what the session wrote itself stays, until somebody chooses.

    But for what somebody else wrote just so too: it is theirs as well then, and theirs to change.
    """
    own_id = state.conversation_id
    sent = [(source, tuple(one for one in entries if origin_of(one.stamp) != own_id)) for source, entries in sent]
    after, events = received(state, sent, strategy=ConflictStrategy.MANUAL)
    own = registers_of(state)
    now = leaves("data", after.data) | leaves("metadata", after.metadata)
    offered = {(one.field, one.stamp) for _, entries in sent for one in entries}
    agreed = {
        one.field
        for _, entries in sent
        for one in entries
        if (register := own.get(one.field))
        and (one.removed, None if one.removed else one.value) == (register.removed, register.value)
    }
    for field, register in own.items():
        if field in agreed:
            continue
        if not register.removed:
            assert now[field] == register.value
        elif field in now:
            raise AssertionError(f"{field} was removed here, and came back unasked")
    for event in events:
        assert isinstance(event, ContextMerged | ConflictOpened)
    assert {(one.offered.field, one.offered.stamp) for one in after.conflicts} <= offered


@over(sessions(), commands())
def test_a_second_time_opens_no_conflict_anew_and_resolved_ones_stay_closed(
    state: SessionState, sent: list[tuple[str, tuple[Entry, ...]]]
) -> None:
    once, _ = received(state, sent, strategy=ConflictStrategy.MANUAL)
    for take in (True, False):
        chosen = step(once, ResolveConflict(resolution=Resolution(take_offered=take)))
        assert chosen.conflicts == ()
        again, _ = received(chosen, sent, strategy=ConflictStrategy.MANUAL)
        places = {(one.field, one.offered.stamp) for one in once.conflicts}
        assert not places & {(one.field, one.offered.stamp) for one in again.conflicts}
        if not take:
            assert (chosen.data, chosen.metadata) == (once.data, once.metadata)


@over(sessions(), commands(), st.lists(st.tuples(st.integers(-4000, 4000), objects), max_size=4))
def test_a_sessions_stamps_strictly_increase_whatever_its_clock_says(
    state: SessionState, sent: list[tuple[str, tuple[Entry, ...]]], writes: list[tuple[int, dict[str, Any]]]
) -> None:
    state, _ = received(state, sent, strategy=ConflictStrategy.MERGE)
    for seconds, data in writes:
        before = state.clock
        assert before is None or before >= max(state.stamps.values(), default="")
        for event in events_of(state, SetData(values=data), NOW + timedelta(seconds=seconds)):
            if data:
                assert event.kind == "data_set"
                assert before is None or event.stamp is not None
                assert before is None or (event.stamp or "") > before
        state = step(state, SetData(values=data), NOW + timedelta(seconds=seconds))


@over(sessions(), commands(), st.sampled_from(ConflictStrategy))
def test_what_is_held_is_what_the_stamps_say(
    state: SessionState, sent: list[tuple[str, tuple[Entry, ...]]], strategy: ConflictStrategy
) -> None:
    """Every field that is there has a stamp, and none that is there is above another."""
    state, _ = received(state, sent, strategy=strategy)
    there = leaves("data", state.data) | leaves("metadata", state.metadata)
    assert there.keys() <= state.stamps.keys()
    assert not any(below.startswith(f"{field}/") for field in there for below in there)


def test_the_fields_that_the_laws_are_tried_on_meet_each_other() -> None:
    assert any(one.startswith(f"{other}/") for one in FIELDS for other in FIELDS)
