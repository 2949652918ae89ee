"""A reply while it is being written: people see it grow, and what it says in the end stands there once."""

from collections import Counter
from datetime import timedelta
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentbus.contracts.ids import Partition
from agentbus.contracts.records import RecordKind
from agentbus.contracts.writing import MAX_WRITING_BYTES, WRITING_LASTS, told_of
from agentbus.workers.adapters.port import Capabilities, Feature, Guarantee, Streaming
from agentbus.workers.outbound import conversations
from agentbus.workers.outbound.conversations import Conversations
from agentbus.workers.outbound.showing import TYPING_LASTS, marked
from tests.harness.builders import a_conversation
from tests.harness.conversations import CONVERSATION, message
from tests.harness.outbound import LEASE, OutboundWorld

_STEP: Final = timedelta(seconds=3)


def a_world(
    guarantee: Guarantee = Guarantee.UNKNOWN,
    streaming: Streaming = Streaming.EDITED,
    *,
    typing: float = 0.0,
    pace: float | None = None,
) -> OutboundWorld:
    can = Capabilities(
        receives=frozenset(),
        sends=frozenset({Feature.EDITS}),
        guarantee=guarantee,
        streaming=streaming,
        text_limit=64,
        key_seconds=3600.0,
        typing_seconds=typing,
        pace=pace,
    )
    return OutboundWorld(guarantee, can=can)


async def begun(world: OutboundWorld) -> Conversations:
    """Have somebody write something; return the worker that shows what is answered."""
    await world.give(CONVERSATION, message(1, sent_at=world.clock.now()), "said")
    return world.worker()


async def grown(world: OutboundWorld, worker: Conversations, *texts: str, writing: str = "w") -> None:
    """Let a reply grow, and be shown at each step."""
    for text in texts:
        world.tell(CONVERSATION, text, writing)
        await world.turn(worker)
        world.clock.advance(_STEP)


async def kept(world: OutboundWorld) -> bool:
    return await world.store.records.get(RecordKind.WRITING, CONVERSATION) is not None


async def test_a_message_grows_with_the_reply_and_says_it_in_the_end() -> None:
    world = a_world()
    worker = await begun(world)
    await grown(world, worker, "one", "one two")
    assert world.channel.texts() == ["one two …"]
    await world.say(CONVERSATION, "one two three", "w")
    await world.settle()
    assert world.channel.texts() == ["one two three"]
    (sent,) = await world.sent(CONVERSATION)
    assert (sent.message_ids, sent.maybe_doubled) == (("message-1",), False)
    assert not await kept(world)


async def test_what_is_longer_than_a_message_shows_its_first_and_the_rest_comes_in_the_end() -> None:
    world = a_world()
    worker = await begun(world)
    first, second = ("first " * 10).strip(), ("second " * 9).strip()
    await grown(world, worker, f"{first}\n\n{second}")
    assert world.channel.texts() == [first]
    await world.say(CONVERSATION, f"{first}\n\n{second}", "w")
    await world.settle()
    assert world.channel.texts() == [first, second]
    (sent,) = await world.sent(CONVERSATION)
    assert sent.message_ids == ("message-1", "message-2")


async def test_replies_that_wait_go_before_and_a_reply_that_is_said_is_not_shown_any_more() -> None:
    world = a_world()
    worker = await begun(world)
    world.at_platform.tell(["down"])
    await world.ask(CONVERSATION, "before")
    await grown(world, worker, "one")
    assert world.channel.texts() == []
    await world.settle()
    world.clock.advance(_STEP)
    worker = world.worker()
    await world.say(CONVERSATION, "said", "w")
    world.tell(CONVERSATION, "sai")  # it was on its way
    await world.settle()
    world.tell(CONVERSATION, "sai")
    await world.turn(worker)
    assert world.channel.texts() == ["before", "said"]
    assert not await kept(world)


async def test_too_much_ends_what_is_shown_and_the_reply_itself_goes_when_the_platform_takes_it() -> None:
    world = a_world()
    worker = await begun(world)
    world.channel.editing.tell(["busy", "busy", "busy"])
    await grown(world, worker, "one", "one two", "one two three", "one two three four")
    assert world.channel.texts() == ["one …"]
    await world.say(CONVERSATION, "all of it", "w")
    await world.settle()
    assert world.channel.texts() == ["all of it"]
    assert [event.message_ids for event in await world.sent(CONVERSATION)] == [("message-1",)]


async def test_a_chat_in_which_a_message_may_not_go_yet_is_not_shown_anything() -> None:
    world = a_world(pace=1 / 60)
    worker = await begun(world)
    await grown(world, worker, "one", "one two", "one two three")
    assert world.channel.texts() == ["one …"]
    await world.say(CONVERSATION, "all of it", "w")
    await world.settle()
    assert world.channel.texts() == ["all of it"]


async def test_a_reply_is_edited_less_and_less_often_the_longer_it_takes() -> None:
    world = a_world()
    worker = await begun(world)
    for second in range(120):
        world.tell(CONVERSATION, f"{second}")
        await world.turn(worker)
        world.clock.advance(timedelta(seconds=1))
    assert 15 <= len(world.channel.edits) <= 25


async def test_what_its_writer_gives_up_is_marked_and_the_same_reply_may_go_on() -> None:
    world = a_world()
    worker = await begun(world)
    await grown(world, worker, "one")
    world.tell(CONVERSATION, over=True)
    await world.turn(worker)
    assert world.channel.texts() == ["one […]"]
    world.clock.advance(_STEP)
    await grown(world, worker, "another", "another one")
    assert world.channel.texts() == ["another one …"]
    await world.say(CONVERSATION, "another one", "w")
    await world.settle()
    assert world.channel.texts() == ["another one"]


async def test_a_writer_that_died_is_noticed_and_so_is_one_whose_outbound_worker_died_too() -> None:
    world = a_world()
    worker = await begun(world)
    await grown(world, worker, "one")
    world.clock.advance(timedelta(seconds=WRITING_LASTS))
    await world.turn(worker)
    assert world.channel.texts() == ["one […]"]
    await grown(world, worker, "two", writing="w2")
    other = world.worker()
    world.clock.advance(timedelta(seconds=3 * WRITING_LASTS))
    await world.turn(other)
    assert world.channel.texts() == ["one […]", "[…]"]
    world.clock.advance(timedelta(hours=2))
    await world.turn(other)
    assert not await kept(world)


async def test_what_could_not_be_marked_is_tried_again_and_not_for_ever() -> None:
    world = a_world()
    worker = await begun(world)
    await grown(world, worker, "one")
    world.channel.editing.tell(["lost"] * 30)
    world.clock.advance(timedelta(seconds=WRITING_LASTS))
    for _ in range(20):
        await world.turn(worker)
        world.clock.advance(timedelta(minutes=1))
    assert world.channel.texts() == ["one …"]
    world.channel.editing.tell([])
    world.clock.advance(timedelta(hours=2))
    await world.turn(worker)
    assert not await kept(world)


async def test_a_message_that_can_t_be_edited_any_more_makes_room_for_the_reply() -> None:
    world = a_world()
    worker = await begun(world)
    await grown(world, worker, "one")
    world.channel.editing.tell(["refused"])
    await world.say(CONVERSATION, "one two", "w")
    await world.settle()
    assert (world.channel.deleted, world.channel.texts()[-1]) == (["message-1"], "one two")
    assert [event.message_ids for event in await world.sent(CONVERSATION)] == [("message-2",)]


@pytest.mark.parametrize(
    ("guarantee", "texts", "doubled"),
    [
        (Guarantee.IDEMPOTENT, ["whole"], False),
        (Guarantee.RECONCILED, ["whole"], False),
        (Guarantee.UNKNOWN, ["one …", "whole"], True),
    ],
)
async def test_a_beginning_of_which_nobody_knows_is_looked_for_or_the_reply_is_marked(
    guarantee: Guarantee, texts: list[str], doubled: bool
) -> None:
    world = a_world(guarantee)
    worker = await begun(world)
    world.at_platform.tell(["died"])
    await grown(world, worker, "one", "one two")
    await world.say(CONVERSATION, "whole", "w")
    await world.settle()
    assert world.channel.texts() == texts
    (sent,) = await world.sent(CONVERSATION)
    assert sent.maybe_doubled is doubled


async def test_a_beginning_that_surely_never_came_is_not_missed() -> None:
    world = a_world(Guarantee.RECONCILED)
    worker = await begun(world)
    world.at_platform.tell(["lost"])
    await grown(world, worker, "one")
    await world.say(CONVERSATION, "whole", "w")
    await world.settle()
    assert world.channel.texts() == ["whole"]
    (sent,) = await world.sent(CONVERSATION)
    assert not sent.maybe_doubled


async def test_a_platform_that_shows_what_is_being_written_needs_no_message_for_it() -> None:
    world = a_world(streaming=Streaming.SHOWN)
    world.channel.previews = []
    worker = await begun(world)
    await grown(world, worker, "one", "one two")
    assert (world.channel.previews, world.channel.texts()) == (["one", "one two"], [])
    assert not await kept(world)
    await world.say(CONVERSATION, "one two three", "w")
    await world.settle()
    assert world.channel.texts() == ["one two three"]


async def test_where_a_chat_has_no_such_thing_a_message_is_edited() -> None:
    world = a_world(streaming=Streaming.SHOWN)
    worker = await begun(world)
    await grown(world, worker, "one", "one two", "one two three")
    assert world.channel.texts() == ["one two three …"]


async def test_what_is_collected_is_not_shown_but_that_it_is_being_written_is() -> None:
    world = a_world(streaming=Streaming.COLLECTED, typing=5.0)
    worker = await begun(world)
    await grown(world, worker, "one", "one two", "one two three")
    await world.typed()
    assert (world.channel.texts(), world.channel.typed) == ([], 2)


async def test_it_is_shown_that_somebody_is_at_work_until_they_are_not_or_nothing_is_heard_of_them() -> None:
    world = a_world(typing=5.0)
    worker = await begun(world)
    counts = []
    for _ in range(4):
        world.tell(CONVERSATION)
        await world.turn(worker)
        await world.typed()
        counts.append(world.channel.typed)
        world.clock.advance(timedelta(seconds=4))
    assert counts == [1, 2, 3, 4]
    world.clock.advance(timedelta(seconds=TYPING_LASTS))
    await world.turn(worker)
    await world.typed()
    assert world.channel.typed == 4
    world.tell(CONVERSATION)
    world.tell(CONVERSATION, over=True)
    await world.turn(worker)
    await world.typed()
    assert world.channel.typed == 4


async def test_that_somebody_was_at_work_leaves_nothing_to_be_done() -> None:
    world = a_world(typing=5.0)
    worker = await begun(world)
    everywhere = range(world.topology.partitions)
    for ended_by in ("its end", "silence"):
        world.tell(CONVERSATION)
        await world.turn(worker)
        if ended_by == "silence":
            world.clock.advance(timedelta(seconds=2 * TYPING_LASTS))
        else:
            world.tell(CONVERSATION, over=True)
        assert world.showing.due(list(map(Partition, everywhere))) == []
        assert world.showing._live == {}


async def test_showing_takes_up_few_of_the_places_for_sending(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversations, "MOST_SHOWN", 2)
    world = a_world()
    worker = await begun(world)
    for chat in range(5):
        world.tell(a_conversation(f"chat-{chat}"), "so far")
    await worker.turn()
    assert len(worker._in_hand) == 2
    await world.turn(worker)


async def test_nothing_is_shown_to_a_chat_that_is_held_back() -> None:
    world = a_world(typing=5.0)
    worker = await begun(world)
    world.at_platform.tell(["busy"])
    await world.ask(CONVERSATION, "one")
    await world.turn(worker)
    world.tell(CONVERSATION)
    await world.turn(worker)
    await world.typed()
    assert world.channel.typed == 0


async def test_of_two_that_are_written_at_once_one_is_shown_and_both_are_sent() -> None:
    world = a_world()
    worker = await begun(world)
    await grown(world, worker, "first")
    await grown(world, worker, "second", writing="w2")
    await grown(world, worker, "first one")
    assert world.channel.texts() == ["first one …"]
    await world.say(CONVERSATION, "second one", "w2")
    await world.say(CONVERSATION, "first one", "w")
    await world.settle()
    assert world.channel.texts() == ["first one", "second one"]


def test_a_mark_behind_a_code_fence_stands_on_a_line_of_its_own() -> None:
    assert marked("```\ncode\n```", "…") == "```\ncode\n```\n…"
    assert marked("text ", "…") == "text …"
    assert marked("", "[…]") == "[…]"


def test_what_is_told_is_bounded_in_bytes() -> None:
    assert len(told_of("é" * MAX_WRITING_BYTES).encode()) == MAX_WRITING_BYTES


_FATES: Final = st.lists(st.sampled_from(["ok", "ok", "lost", "died", "killed", "after", "busy", "down"]), max_size=6)
_EDITS: Final = st.lists(st.sampled_from(["ok", "ok", "killed", "busy", "lost"]), max_size=6)
_STORE: Final = st.lists(st.sampled_from(["ok", "ok", "ok", "killed"]), max_size=12)


@pytest.mark.parametrize("guarantee", list(Guarantee))
@settings(max_examples=40)
@given(sends=_FATES, edits=_EDITS, store=_STORE)
async def test_whatever_dies_a_reply_that_was_shown_stands_there_once_or_is_marked(
    guarantee: Guarantee, sends: list[str], edits: list[str], store: list[str]
) -> None:
    world = a_world(guarantee)
    worker = await begun(world)
    world.at_platform.tell(sends)
    world.channel.editing.tell(edits)
    world.at_store.tell(store)
    for text in ("one", "one two", "one two three"):
        world.tell(CONVERSATION, text)
        if await world.turn(worker):
            worker = world.worker()
            world.clock.advance(timedelta(seconds=LEASE))
        world.clock.advance(_STEP)
    await world.say(CONVERSATION, "whole", "w")
    await world.settle()
    told = Counter(await world.told(CONVERSATION))
    whole = Counter(world.channel.texts())["whole"]
    doubled = [event.maybe_doubled for event in await world.sent(CONVERSATION)]
    assert sum(told.values()) == 1
    if told["reply_sent"]:
        assert whole >= 1
        assert whole == 1 or doubled == [True]
        assert len(world.channel.taken) == 1 or doubled == [True]
