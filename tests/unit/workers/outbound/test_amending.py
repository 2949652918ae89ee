"""A reply that was sent is changed at its platform, or it is told why not."""

from datetime import timedelta

import pytest

from agentbus.contracts.commands import DeleteMessage, EditMessage, SendReply
from agentbus.contracts.events import ReplyEdited, ReplyUnchanged
from agentbus.contracts.messages import OutboundMessage, TextContent
from agentbus.contracts.replies import ReplyState
from agentbus.workers.adapters.port import Capabilities, Failed, Guarantee, Outcome
from tests.harness.conversations import CONVERSATION
from tests.harness.outbound import FakeChannel, OutboundWorld

LONG = "first " * 10 + "\n\n" + "second " * 9


async def sent(text: str = "hello", *, pace: float | None = None) -> tuple[OutboundWorld, str]:
    """Return a world in which a reply was sent, and its message's key."""
    can = Capabilities(receives=frozenset(), guarantee=Guarantee.IDEMPOTENT, text_limit=64, key_seconds=1e4, pace=pace)
    world = OutboundWorld(Guarantee.IDEMPOTENT, can=can)
    await world.ask(CONVERSATION, text)
    await world.settle()
    (reply,) = (await world.state(CONVERSATION)).replies
    assert reply.message is not None
    return world, reply.message


async def changed(world: OutboundWorld, key: str, text: str | None, number: int = 1) -> None:
    command = DeleteMessage(target=key) if text is None else EditMessage(target=key, text=text)
    await world.give(CONVERSATION, command, f"change-{number}")
    await world.outbox.look_at([CONVERSATION])


async def outcomes(world: OutboundWorld) -> list[str]:
    return [
        event.reason if isinstance(event, ReplyUnchanged) else f"edited {event.message_id}"
        for event in await world.events(CONVERSATION)
        if isinstance(event, ReplyEdited | ReplyUnchanged)
    ]


async def state_of(world: OutboundWorld) -> list[ReplyState]:
    return [one.state for one in (await world.state(CONVERSATION)).replies]


async def test_an_edit_is_shown_and_told() -> None:
    world, key = await sent()
    await changed(world, key, "new")
    await world.settle()
    assert (world.channel.texts(), await outcomes(world)) == (["new"], ["edited message-1"])
    assert await state_of(world) == [ReplyState.SENT]


async def test_what_was_taken_back_is_deleted() -> None:
    world, key = await sent()
    await changed(world, key, None)
    await world.settle()
    assert (world.channel.deleted, await outcomes(world)) == (["message-1"], ["edited None"])


async def test_fewer_messages_than_before_are_edited_and_the_rest_deleted() -> None:
    world, key = await sent(LONG)
    await changed(world, key, "short")
    await world.settle()
    assert (world.channel.texts()[0], world.channel.deleted) == ("short", ["message-2"])
    assert await outcomes(world) == ["edited message-1"]


async def test_each_message_waits_for_its_turn_and_is_changed_once() -> None:
    world, key = await sent(LONG, pace=0.05)
    await changed(world, key, LONG.replace("first", "other"))
    await world.settle()
    assert [one for one, _ in world.channel.edits] == ["message-1", "message-2"]
    assert world.channel.texts()[0] == ("other " * 10).strip()


async def test_more_messages_than_before_are_not_sent_and_it_is_told() -> None:
    world, key = await sent()
    await changed(world, key, LONG)
    await world.settle()
    assert (world.channel.texts(), await outcomes(world)) == (["hello"], ["it would be 2 messages, and is 1"])
    assert await state_of(world) == [ReplyState.SENT]


async def test_what_the_platform_does_not_take_for_now_is_tried_again_and_what_it_refuses_is_told() -> None:
    world, key = await sent()
    world.channel.editing.tell(["busy", "lost", "killed"])
    await changed(world, key, "new")
    await world.settle()
    assert (world.channel.texts(), await outcomes(world)) == (["new"], ["edited message-1"])
    world.channel.editing.tell(["refused"])
    await changed(world, key, "newer", 2)
    await world.settle()
    assert (world.channel.texts(), (await outcomes(world))[1:]) == (["new"], ["it can't be edited any more"])


async def test_what_can_not_be_changed_for_a_day_is_given_up() -> None:
    world, key = await sent()
    world.channel.editing.tell(["lost"] * 10_000)
    await changed(world, key, "new")
    worker = world.worker()
    for _ in range(60):
        await world.turn(worker)
        world.clock.advance(timedelta(hours=1))
    assert await outcomes(world) == ["it could not be changed for 86400 s"]


async def test_a_later_change_begins_anew_and_the_last_one_is_shown() -> None:
    world, key = await sent(LONG, pace=0.05)
    await changed(world, key, LONG.replace("first", "other"))
    worker = world.worker()
    await world.turn(worker)
    await changed(world, key, LONG.replace("first", "last"), 2)
    await world.settle()
    assert world.channel.texts()[0] == ("last " * 10).strip()
    assert await state_of(world) == [ReplyState.SENT]


async def test_a_change_goes_before_replies_that_were_asked_for_later() -> None:
    world, key = await sent()
    await changed(world, key, "new")
    await world.give(CONVERSATION, SendReply(message=OutboundMessage(content=TextContent(text="next"))), "next")
    await world.outbox.look_at([CONVERSATION])
    await world.settle()
    assert world.channel.texts() == ["new", "next"]
    kinds = await world.told(CONVERSATION)
    assert kinds == ["reply_sent", "reply_edited", "reply_sent"]


class Unchangeable(FakeChannel):
    """A platform on which nothing can be changed."""

    async def edit(self, *_: object, **__: object) -> Outcome:
        return Failed("this channel can't edit", permanent=True)


@pytest.mark.parametrize("when", ["before it is sent", "after"])
async def test_where_nothing_can_be_changed_it_is_told_unless_it_was_sent_so(when: str) -> None:
    world = OutboundWorld(Guarantee.IDEMPOTENT)
    world.outbound = Unchangeable(Guarantee.IDEMPOTENT, world.at_platform, world.at_asking)
    await world.ask(CONVERSATION, "hello")
    if when == "after":
        await world.settle()
    key = (await world.state(CONVERSATION)).replies[0].message
    assert key is not None
    await changed(world, key, "new")
    await world.settle()
    assert await outcomes(world) == ([] if when != "after" else ["this channel can't edit"])
    assert await state_of(world) == [ReplyState.SENT]
