"""A top-level key that is written again: nothing of what was there before, removed fields too, stays older than it."""

from datetime import timedelta

from pydantic import JsonValue

from agentbus.contracts.address import Platform
from agentbus.contracts.commands import MergeContext, SetData
from agentbus.contracts.events import ContextMerged, DataSet
from agentbus.contracts.session import SessionState
from agentbus.contracts.sync import ConflictStrategy, Entry
from agentbus.workers.domain.sync.fields import written
from agentbus.workers.domain.sync.merging import passed_on
from tests.harness.conversations import NOW
from tests.harness.linked import context, events_of, linked, merge, step

PRIORITY = (Platform.TELEGRAM, Platform.DISCORD)


def outrank(*entries: Entry, source: str) -> MergeContext:
    return merge(*entries, source=source, strategy=ConflictStrategy.SOURCE_PRIORITY, priority=PRIORITY)


def write(state: SessionState, second: int, **data: JsonValue) -> tuple[SessionState, tuple[Entry, ...]]:
    """Return the state after a write, and what it passes on."""
    command, now = SetData(values=data), NOW + timedelta(seconds=second)
    (event,) = events_of(state, command, now, f"write-{second}")
    assert isinstance(event, DataSet)
    return step(state, command, now, f"write-{second}"), written(event)


def test_a_write_is_newer_than_all_that_was_ever_under_its_key() -> None:
    state = linked("web")
    one_after_the_other: list[JsonValue] = [{"l": 1}, 5, {"r": 1}, {"m": {"n": 1}}]
    for second, data in enumerate(one_after_the_other):
        state, passed_on = write(state, second, k=data)
    assert state.data == {"k": {"m": {"n": 1}}}
    assert len(set(state.stamps.values())) == 1
    assert {entry.field for entry in passed_on} == state.stamps.keys()


def test_what_a_higher_platform_removed_long_ago_does_not_keep_up_a_lower_ones_value() -> None:
    """Its stamp would make the whole key as high as the answer that outranks it, and both would be joined."""
    telegram, discord = linked("telegram"), linked("discord")
    for second in (1, 2):
        telegram, passed_on = write(telegram, second, k={f"field {second}": second})
        discord = step(discord, outrank(*passed_on, source="telegram"))
    discord, passed_on = write(discord, 3, k={"other": 3})
    (kept,) = events_of(telegram, outrank(*passed_on, source="discord"))
    assert isinstance(kept, ContextMerged)
    discord = step(discord, outrank(*kept.kept, source="telegram"))
    assert discord.data == {"k": {"field 2": 2}}
    assert context(discord) == context(telegram)


def test_who_was_overwritten_before_it_told_anybody_is_answered_all_the_same() -> None:
    """What outranks both is told to the writer of the other value; who has that in place of their own needs it too."""
    rule = ConflictStrategy.SOURCE_PRIORITY
    telegram, passed = write(linked("telegram"), 1, k="first")
    slack, web = (step(linked(name), outrank(*passed, source="telegram")) for name in ("slack", "web"))
    assert [passed_on(one, rule, own=True) for one in (slack, web)] == [(), ()]
    web, _ = write(web, 2, k="not told")
    slack, passed = write(slack, 3, k="told")
    web = step(web, outrank(*passed, source="slack"))
    telegram = step(telegram, outrank(*passed, source="slack"))
    assert (web.data, telegram.data) == ({"k": "told"}, {"k": "first"})
    passed = passed_on(web, rule, own=True)
    (kept,) = events_of(telegram, outrank(*passed, source="web"))
    assert isinstance(kept, ContextMerged)
    web = step(web, outrank(*kept.kept, source="telegram"))
    assert context(web) == context(telegram)
    again = step(telegram, outrank(*passed, source="web"))
    assert events_of(again, outrank(*passed, source="web")) == ()
    for other in (ConflictStrategy.LATEST_WINS, ConflictStrategy.MERGE):
        assert passed_on(web, other, own=True) == ()
