"""Sending: in order, once, and where that can't be known it is said."""

from collections import Counter
from datetime import timedelta
from itertools import repeat
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentbus.contracts.address import Address
from agentbus.contracts.commands import (
    DeleteMessage,
    EditMessage,
    EraseConversation,
    React,
    ResetSession,
    ResolveReply,
)
from agentbus.contracts.events import ReplyFailed, ReplyUnknown
from agentbus.contracts.records import RecordKind
from agentbus.contracts.replies import InDoubt, ReplyResolution, ReplyState, piece_key, reply_of_key
from agentbus.workers.adapters.port import Capabilities, Guarantee, Sent
from agentbus.workers.outbound.outbox import UNKNOWN_GROUP
from agentbus.workers.outbound.sending import ASKING
from tests.harness.conversations import CONVERSATION, address
from tests.harness.outbound import LEASE, OutboundWorld

LONG = "first " * 10 + "\n\n" + "second " * 9
"""Two messages for a platform that takes 64 characters."""


async def test_replies_are_sent_in_their_order_and_told_of() -> None:
    world = OutboundWorld()
    await world.ask(CONVERSATION, "one", "two", "three")
    await world.settle()
    assert world.channel.texts() == ["one", "two", "three"]
    assert [event.message_ids for event in await world.sent(CONVERSATION)] == [
        ("message-1",),
        ("message-2",),
        ("message-3",),
    ]
    assert not await world.store.records.due(RecordKind.SENDING, world.clock.now(), limit=10)


async def test_a_long_reply_is_several_messages_each_with_its_own_key() -> None:
    world = OutboundWorld()
    (reply,) = await world.ask(CONVERSATION, LONG)
    await world.settle()
    assert [key for key, _ in world.channel.taken] == [piece_key(reply, 1, 2), piece_key(reply, 2, 2)]
    assert world.channel.texts() == [("first " * 10).strip(), ("second " * 9).strip()]
    assert [reply_of_key(key) for key, _ in world.channel.taken] == [None, reply]
    (sent,) = await world.sent(CONVERSATION)
    assert sent.message_ids == ("message-1", "message-2")


async def test_what_the_platform_does_not_take_for_now_is_tried_again_and_those_behind_it_wait() -> None:
    world = OutboundWorld()
    world.at_platform.tell(["down", "busy"])
    await world.ask(CONVERSATION, "one", "two")
    await world.settle()
    assert world.channel.texts() == ["one", "two"]
    assert world.channel.requests == 4
    assert [event.maybe_doubled for event in await world.sent(CONVERSATION)] == [False, False]


async def test_what_the_platform_refuses_failed_in_its_words_and_the_next_one_goes() -> None:
    world = OutboundWorld()
    world.at_platform.tell(["ok", "refused"])
    await world.ask(CONVERSATION, LONG, "two")
    await world.settle()
    (failed,) = [event for event in await world.events(CONVERSATION) if isinstance(event, ReplyFailed)]
    assert failed.reason == "the chat is gone (1 of its 2 messages were sent)"
    assert world.channel.texts()[1:] == ["two"]


async def test_a_wait_that_the_platform_asks_for_is_kept_to_by_all_instances() -> None:
    world = OutboundWorld()
    world.at_platform.tell(["busy"])
    await world.ask(CONVERSATION, "one")
    await world.turn(world.worker())
    another = world.worker()
    await world.outbox.look_at([CONVERSATION])  # as if it were due at once
    world.clock.advance(timedelta(seconds=2.9))
    await world.turn(another)
    assert world.channel.requests == 1
    world.clock.advance(timedelta(seconds=LEASE))
    await world.turn(another)
    assert world.channel.texts() == ["one"]


async def test_a_chat_gets_no_more_than_its_pace() -> None:
    can = Capabilities(receives=frozenset(), pace=0.5, account_pace=1000.0)
    world = OutboundWorld(can=can)
    await world.ask(CONVERSATION, "one", "two")
    worker = world.worker()
    await world.turn(worker)
    assert world.channel.texts() == ["one"]
    world.clock.advance(timedelta(seconds=1.9))
    await world.turn(worker)
    assert world.channel.texts() == ["one"]
    world.clock.advance(timedelta(seconds=0.1))
    await world.turn(worker)
    assert world.channel.texts() == ["one", "two"]


async def test_only_one_instance_sends_for_a_partition_until_its_lease_ends() -> None:
    world = OutboundWorld()
    world.at_platform.tell(["killed"])
    await world.ask(CONVERSATION, "one")
    assert await world.turn(world.worker())
    another = world.worker()
    await world.turn(another)
    assert world.channel.requests == 1
    world.clock.advance(timedelta(seconds=LEASE))
    await world.turn(another)
    assert await world.told(CONVERSATION) == ["reply_unknown"]


async def test_in_doubt_and_held_it_waits_for_somebody_and_the_next_one_goes() -> None:
    world = OutboundWorld()
    world.at_platform.tell(["died"])
    first, _ = await world.ask(CONVERSATION, "one", "two")
    await world.settle()
    assert world.channel.texts() == ["one", "two"]
    assert await world.told(CONVERSATION) == ["reply_unknown", "reply_sent"]
    listed = await world.store.records.page(RecordKind.OUTBOX, UNKNOWN_GROUP)
    assert [(record.key, record.data["reason"]) for record in listed.items] == [(first, "the connection died")]
    assert await world.outbox.in_doubt() == 1


async def test_somebody_has_it_sent_again_and_it_is_marked() -> None:
    world = OutboundWorld()
    world.at_platform.tell(["ok", "died"])
    (reply,) = await world.ask(CONVERSATION, LONG)
    await world.settle()
    for resolution in ("first", "again"):
        world.at_platform.tell(["died"] if resolution == "first" else [])
        await world.give(CONVERSATION, ResolveReply(reply=reply, resolution=ReplyResolution.RESEND), resolution)
        await world.outbox.look_at([CONVERSATION])
        await world.settle()
    first, second = ("first " * 10).strip(), ("second " * 9).strip()
    assert world.channel.texts() == [first, second, second, second]
    (sent,) = await world.sent(CONVERSATION)
    assert (sent.maybe_doubled, len(sent.message_ids)) == (True, 2)


async def test_in_doubt_it_is_sent_again_and_marked_where_the_settings_say_so() -> None:
    world = OutboundWorld(in_doubt=InDoubt.RESEND)
    world.at_platform.tell(["died"])
    await world.ask(CONVERSATION, "one", "two")
    await world.settle()
    assert world.channel.texts() == ["one", "one", "two"]
    assert [event.maybe_doubled for event in await world.sent(CONVERSATION)] == [True, False]


async def test_what_was_sent_is_known_to_be_though_the_worker_died_before_it_told() -> None:
    world = OutboundWorld()
    world.at_owner.tell(["killed"])
    await world.ask(CONVERSATION, "one")
    assert await world.settle() == 1
    assert world.channel.texts() == ["one"]
    assert await world.told(CONVERSATION) == ["reply_sent"]


async def test_a_platform_that_never_says_leaves_it_unknown() -> None:
    world = OutboundWorld(Guarantee.RECONCILED)
    world.at_platform.tell(["died"])
    world.at_asking.tell(20 * ["lost"])
    await world.ask(CONVERSATION, "one")
    await world.settle()
    assert await world.told(CONVERSATION) == ["reply_unknown"]


async def test_a_platform_that_may_not_be_asked_so_often_is_not_asked_for_ever() -> None:
    world = OutboundWorld(Guarantee.RECONCILED)
    world.at_platform.tell(["lost"])
    world.at_asking.tell(repeat("busy"))
    await world.ask(CONVERSATION, "one")
    await world.settle(turns=3 * ASKING)
    assert await world.told(CONVERSATION) == ["reply_unknown"]


async def test_a_message_that_surely_was_not_taken_several_times_is_sent_in_the_end() -> None:
    world = OutboundWorld(Guarantee.RECONCILED)
    world.at_platform.tell(["lost"] * 5)
    await world.ask(CONVERSATION, "one")
    await world.settle()
    assert (world.channel.texts(), await world.told(CONVERSATION)) == (["one"], ["reply_sent"])


async def test_a_platform_is_not_believed_at_once_that_it_has_nothing() -> None:
    """What was sent may still be on its way there."""
    world = OutboundWorld(Guarantee.RECONCILED)
    world.at_platform.tell(["lost"])
    await world.ask(CONVERSATION, "one")
    worker = world.worker()
    for _ in range(29):
        await world.turn(worker)
        world.clock.advance(timedelta(seconds=1))
    assert world.channel.requests == 1
    await world.settle()
    assert world.channel.texts() == ["one"]


async def test_what_a_platform_calls_its_message_is_kept_however_it_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    world = OutboundWorld()

    async def odd(*_: object, **__: object) -> Sent:
        return Sent("\x00" + 300 * "x")

    monkeypatch.setattr(world.channel, "send", odd)
    await world.ask(CONVERSATION, "one")
    await world.settle()
    (sent,) = await world.sent(CONVERSATION)
    assert sent.message_ids[0].startswith("_xxx")


async def test_a_key_that_the_platform_forgot_is_no_key() -> None:
    world = OutboundWorld(Guarantee.IDEMPOTENT)
    world.at_platform.tell(["after"])
    await world.ask(CONVERSATION, "one")
    await world.turn(world.worker())
    world.clock.advance(timedelta(hours=2))
    await world.settle()
    assert world.channel.texts() == ["one"]
    assert await world.told(CONVERSATION) == ["reply_unknown"]


async def test_what_fails_after_a_try_that_may_have_got_through_does_not_make_that_one_fail() -> None:
    world = OutboundWorld(Guarantee.IDEMPOTENT)
    world.at_platform.tell(["died", "refused"])
    await world.ask(CONVERSATION, "one")
    await world.settle()
    assert await world.told(CONVERSATION) == ["reply_unknown"]


async def test_a_reply_that_nobody_could_send_in_time_is_given_up() -> None:
    world = OutboundWorld(give_up=60.0)
    world.at_platform.tell(100 * ["down"])
    await world.ask(CONVERSATION, "one")
    await world.settle()
    (failed,) = [event for event in await world.events(CONVERSATION) if isinstance(event, ReplyFailed)]
    assert failed.reason == "it could not be sent for 60 s"
    assert world.channel.requests < 10


async def reacting(world: OutboundWorld, number: int = 1, to: Address | None = None) -> None:
    command = React(message_id=f"m{number}", where=to or address(), reaction="👍")
    await world.give(CONVERSATION, command, f"react-{number}")
    await world.outbox.look_at([CONVERSATION])


async def test_a_reaction_goes_in_turn_and_is_told_of_whatever_happens_on_the_way() -> None:
    world = OutboundWorld()
    await world.ask(CONVERSATION, "one")
    world.channel.editing.tell(["busy", "lost", "killed"])
    await reacting(world)
    await world.ask(CONVERSATION, "two")
    await world.settle()
    assert (world.channel.texts(), world.channel.reactions) == (["one", "two"], {"m1": "👍"})
    assert await world.told(CONVERSATION) == ["reply_sent"] * 3
    assert [one.state for one in (await world.state(CONVERSATION)).replies] == [ReplyState.SENT] * 2
    assert not await world.store.records.due(RecordKind.SENDING, world.clock.now(), limit=10)


async def test_a_reaction_that_the_platform_does_not_take_or_for_too_long_fails_and_is_never_in_doubt() -> None:
    world = OutboundWorld(give_up=60.0)
    await world.ask(CONVERSATION, "one")
    world.channel.editing.tell(["refused", *["lost"] * 100])
    await reacting(world)
    await world.settle()
    await reacting(world, 2)
    await world.settle()
    await reacting(world, 3, address().model_copy(update={"account": "other"}))
    await world.settle(turns=1000)
    failed = [event.reason for event in await world.events(CONVERSATION) if isinstance(event, ReplyFailed)]
    late = "it could not be sent for 60 s"
    assert failed == ["it takes no such emoji", late, late]
    assert world.channel.reactions == {}


async def test_a_reply_by_an_account_that_is_not_here_waits() -> None:
    world = OutboundWorld(give_up=3600.0)
    elsewhere = address().model_copy(update={"account": "other"})
    await world.ask(CONVERSATION, "one", to=elsewhere)
    worker = world.worker()
    for _ in range(3):
        await world.turn(worker)
        world.clock.advance(timedelta(seconds=60))
    assert await world.told(CONVERSATION) == []
    await world.settle(turns=1000)
    assert await world.told(CONVERSATION) == ["reply_failed"]


async def test_it_is_sent_as_it_reads_by_then_and_not_if_it_was_taken_back() -> None:
    world = OutboundWorld()
    await world.ask(CONVERSATION, "one", "two", "three")
    said = [event.message.key for event in await world.events(CONVERSATION) if event.kind == "message_appended"][1:]
    await world.give(CONVERSATION, EditMessage(target=said[0], text="ONE"), "edit")
    await world.give(CONVERSATION, DeleteMessage(target=said[1]), "delete")
    await world.settle()
    assert world.channel.texts() == ["ONE", "three"]
    assert await world.told(CONVERSATION) == ["reply_sent", "reply_failed", "reply_sent"]


async def test_what_came_back_from_a_backup_may_have_been_sent_since() -> None:
    world = OutboundWorld()
    (reply,) = await world.ask(CONVERSATION, "one")
    (*_, last) = await world.store.log.read(CONVERSATION, limit=10)
    await world.store.log.replace([last.model_copy(update={"restored": "a restore"})])
    await world.settle()
    assert (world.channel.requests, await world.told(CONVERSATION)) == (0, ["reply_unknown"])
    await world.give(CONVERSATION, ResolveReply(reply=reply, resolution=ReplyResolution.RESEND), "again")
    # That came back too: what somebody decided before the backup was done since.
    decided = await world.store.log.read(CONVERSATION, first=last.version + 1, limit=10)
    await world.store.log.replace([one.model_copy(update={"restored": "a restore"}) for one in decided])
    await world.outbox.look_at([CONVERSATION])
    await world.settle()
    assert (world.channel.requests, await world.told(CONVERSATION)) == (
        0,
        ["reply_unknown", "reply_reopened", "reply_unknown"],
    )
    await world.give(CONVERSATION, ResolveReply(reply=reply, resolution=ReplyResolution.RESEND), "once more")
    await world.outbox.look_at([CONVERSATION])
    await world.settle()
    assert world.channel.texts() == ["one"]


async def test_what_was_erased_is_not_sent() -> None:
    world = OutboundWorld()
    await world.ask(CONVERSATION, "one")
    await world.give(CONVERSATION, EraseConversation(), "erase")
    await world.settle()
    assert world.channel.requests == 0


async def test_replies_of_a_session_that_was_reset_are_sent_before_those_of_the_next() -> None:
    world = OutboundWorld()
    await world.ask(CONVERSATION, "one")
    await world.give(CONVERSATION, ResetSession(), "reset")
    await world.ask(CONVERSATION, "two")
    await world.settle()
    assert world.channel.texts() == ["one", "two"]


async def test_what_an_adapter_raises_leaves_the_outcome_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    world = OutboundWorld()

    async def broken(*_: object, **__: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(world.channel, "send", broken)
    await world.ask(CONVERSATION, "one")
    await world.settle()
    (unknown,) = [event for event in await world.events(CONVERSATION) if isinstance(event, ReplyUnknown)]
    assert unknown.reason == "the adapter failed: KeyError"


def test_a_key_is_of_its_reply_and_no_other_text_is_one() -> None:
    assert reply_of_key("") is reply_of_key("a-b-c-1-1") is None
    key = piece_key(f"{'z' * 26}.999999999/999999999999999999", 64, 64)  # type: ignore[arg-type]  # a reply's id
    assert len(key) <= 64
    assert reply_of_key(key) == f"{'z' * 26}.999999999/999999999999999999"


# Whatever happens, to the letter

_AT_PLATFORM = st.lists(st.sampled_from(["ok", "lost", "died", "killed", "after", "busy", "down"]), max_size=12)
_ELSEWHERE = st.lists(st.sampled_from(["ok", "ok", "killed"]), max_size=30)


async def told_of(world: OutboundWorld) -> Counter[str]:
    """Have three replies sent, of which the second is two messages, whatever happens; return what was told."""
    await world.ask(CONVERSATION, "one", LONG, "three")
    await world.settle()
    state = await world.state(CONVERSATION)
    told = Counter(await world.told(CONVERSATION))
    assert sum(told.values()) == 3  # each is told of, once
    assert told["reply_unknown"] == sum(one.state == "unknown" for one in state.replies)
    firsts = list(dict.fromkeys(world.channel.texts()))
    everything = ["one", ("first " * 10).strip(), ("second " * 9).strip(), "three"]
    assert firsts == [text for text in everything if text in firsts]  # in their order
    if told["reply_sent"] == 3:
        assert firsts == everything
    return told


_FEW: Final = settings(max_examples=50)


@pytest.mark.parametrize("guarantee", [Guarantee.IDEMPOTENT, Guarantee.RECONCILED])
@_FEW
@given(at_platform=_AT_PLATFORM, at_store=_ELSEWHERE, at_owner=_ELSEWHERE)
async def test_every_reply_is_at_the_platform_once(
    guarantee: Guarantee, at_platform: list[str], at_store: list[str], at_owner: list[str]
) -> None:
    world = OutboundWorld(guarantee)
    world.at_platform.tell(at_platform)
    world.at_store.tell(at_store)
    world.at_owner.tell(at_owner)
    assert await told_of(world) == {"reply_sent": 3}
    assert len(world.channel.taken) == len(set(world.channel.taken)) == 4
    assert not any(event.maybe_doubled for event in await world.sent(CONVERSATION))


@_FEW
@given(at_platform=_AT_PLATFORM, at_store=_ELSEWHERE, at_owner=_ELSEWHERE)
async def test_held_it_is_never_there_twice_and_said_to_be_unknown_where_it_is(
    at_platform: list[str], at_store: list[str], at_owner: list[str]
) -> None:
    world = OutboundWorld(in_doubt=InDoubt.HOLD)
    world.at_platform.tell(at_platform)
    world.at_store.tell(at_store)
    world.at_owner.tell(at_owner)
    told = await told_of(world)
    assert told.keys() <= {"reply_sent", "reply_unknown"}
    assert len(world.channel.taken) == len(set(world.channel.taken))
    listed = await world.store.records.page(RecordKind.OUTBOX, UNKNOWN_GROUP)
    unknown = {one.reply_id for one in (await world.state(CONVERSATION)).replies if one.state == "unknown"}
    assert unknown <= {record.key for record in listed.items}


@_FEW
@given(at_platform=_AT_PLATFORM, at_store=_ELSEWHERE, at_owner=_ELSEWHERE)
async def test_sent_again_it_is_never_missing_and_marked_where_it_may_be_there_twice(
    at_platform: list[str], at_store: list[str], at_owner: list[str]
) -> None:
    world = OutboundWorld(in_doubt=InDoubt.RESEND)
    world.at_platform.tell(at_platform)
    world.at_store.tell(at_store)
    world.at_owner.tell(at_owner)
    assert await told_of(world) == {"reply_sent": 3}
    doubled = {reply_id for (reply_id, _), count in _by_piece(world).items() if count > 1}
    marked = {event.reply for event in await world.sent(CONVERSATION) if event.maybe_doubled}
    assert doubled <= marked


def _by_piece(world: OutboundWorld) -> Counter[tuple[str, str]]:
    """Return how often each message is there, by its reply and its number."""
    return Counter((_reply(key), key) for key, _ in world.channel.taken)


def _reply(key: str) -> str:
    conversation, generation, sequence, *_ = key.split("-")
    return f"{conversation}.{generation}/{sequence}"
