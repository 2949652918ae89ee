"""What operators see of replies, and what comes of what they decide."""

from collections.abc import Collection

import pytest

from agentbus.composition.app import App
from agentbus.contracts.address import Address, Platform
from agentbus.contracts.clock import ManualClock
from agentbus.contracts.commands import SendReply
from agentbus.contracts.errors import ReplyNotFound, SchemaViolation
from agentbus.contracts.ids import ConversationId, conversation_of
from agentbus.contracts.messages import InboundMessage, OutboundMessage, TextContent
from agentbus.contracts.records import Record, RecordKind
from agentbus.contracts.replies import OutgoingReply, ReplyId, ReplyResolution, ReplyState, session_of_reply
from agentbus.contracts.topology import Topology
from agentbus.operations.replies import list_unknown, list_waiting, resolve_reply
from agentbus.settings import load_settings
from agentbus.storage.memory import MemoryStore
from agentbus.storage.port import Loaded
from agentbus.workers.adapters.port import Guarantee
from agentbus.workers.erasure.records import records_of_sessions
from agentbus.workers.outbound.outbox import UNKNOWN_GROUP, Outbox
from tests.expiry.world import World, a_world
from tests.harness.builders import NOON, a_conversation, a_head, a_moment
from tests.harness.outbound import FakeChannel, Fate
from tests.harness.patience import PATIENCE
from tests.unit.workers.outbound.test_worker import sending

WHERE = Address(platform=Platform.TELEGRAM, chat="lobby", user="ada")


def an_app(world: World) -> App:
    settings = load_settings(amqp_url="memory://", store_url="memory://", partitions=4)
    return App(settings=settings, bus=world.bus, store=world.store, clock=world.clock)


async def ask(world: World, text: str) -> None:
    await world.client.publish(
        InboundMessage(address=WHERE, message_id=text, sent_at=world.clock.now(), content=TextContent(text="hi"))
    )
    said = OutboundMessage(content=TextContent(text=text))
    await world.client.send(SendReply(address=WHERE, message=said), timeout=PATIENCE)


async def in_doubt(world: World, channel: FakeChannel, text: str) -> ReplyId:
    """Have a reply in doubt; return its id."""
    channel.fate.tell(["died"])
    async with sending(world, channel):
        await ask(world, text)

        async def is_told() -> bool:
            return bool((await list_unknown(world.store, world.bus.topology, world.clock)).items)

        await world.until(is_told)
    (listed,) = (await list_unknown(world.store, world.bus.topology, world.clock)).items
    assert (listed.state, listed.reason, listed.due_at) == (ReplyState.UNKNOWN, "the connection died", None)
    return listed.reply_id


async def test_a_reply_in_doubt_is_sent_again_and_after_that_it_is_known() -> None:
    channel = FakeChannel(Guarantee.UNKNOWN, Fate(), Fate())
    async with a_world() as world:
        app = an_app(world)
        reply = await in_doubt(world, channel, "one")
        await resolve_reply(app, reply, ReplyResolution.RESEND)
        async with sending(world, channel):

            async def is_sent() -> bool:
                return any(event.kind == "reply_sent" for event in world.events)

            await world.until(is_sent)
        assert channel.texts() == ["one", "one"]
        assert not (await list_unknown(world.store, world.bus.topology, world.clock)).items
        with pytest.raises(ReplyNotFound):
            await resolve_reply(app, reply, ReplyResolution.SENT)


async def test_what_was_decided_about_leaves_nothing_behind() -> None:
    channel = FakeChannel(Guarantee.UNKNOWN, Fate(), Fate())
    async with a_world() as world:
        reply = await in_doubt(world, channel, "one")
        conversation = conversation_of(session_of_reply(reply))

        async def kept() -> set[tuple[RecordKind, str]]:
            there = records_of_sessions(world.store, [conversation], [])
            return {(record.kind, record.key) async for record in there}

        # What an erasure would take away, and no more is kept of it.
        assert await kept() == {(RecordKind.SENDING, reply), (RecordKind.OUTBOX, reply)}
        await resolve_reply(an_app(world), reply, ReplyResolution.FAILED, reason="of no interest")
        assert await kept() == set()


async def test_what_waits_to_be_sent_is_listed_though_nobody_sends() -> None:
    async with a_world() as world:
        await ask(world, "one")
        assert await list_waiting(world.store, world.bus.topology, world.clock) == []  # nobody has looked yet
        heads = (await world.store.heads.scan(limit=10)).items
        await Outbox(world.store, world.bus.topology, world.clock).look_at([heads[0].conversation_id])
        (listed,) = await list_waiting(world.store, world.bus.topology, world.clock)
        assert (listed.state, listed.platform) == (ReplyState.WAITING, Platform.TELEGRAM)
        assert listed.due_at is not None


async def test_the_conversations_of_a_page_are_loaded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[int] = []
    async with MemoryStore() as store:
        for number in range(5):
            head = a_head(a_conversation(), version=2)
            reply = OutgoingReply(
                session_id=head.session_id,
                sequence=2,
                version=2,
                at=NOON,
                platform=Platform.TELEGRAM,
                state=ReplyState.UNKNOWN,
            )
            await store.heads.save([head.model_copy(update={"replies": (reply,)})])
            await store.records.put(
                Record(
                    kind=RecordKind.OUTBOX,
                    key=reply.reply_id,
                    group=UNKNOWN_GROUP,
                    created_at=a_moment(number),
                    data={"reason": str(number)},
                )
            )
        load = store.log.load

        async def counted(conversations: Collection[ConversationId]) -> dict[ConversationId, Loaded]:
            loads.append(len(conversations))
            return await load(conversations)

        monkeypatch.setattr(store.log, "load", counted)
        listed = await list_unknown(store, Topology(), ManualClock(NOON))

    assert [one.reason for one in listed.items] == ["4", "3", "2", "1", "0"]
    assert loads == [5]


@pytest.mark.parametrize("reply", ["", "x", "a/1", f"{'a' * 26}.1/0"])
async def test_what_is_no_replys_id_is_refused(reply: str) -> None:
    async with a_world() as world:
        with pytest.raises(SchemaViolation, match="no reply's id"):
            await resolve_reply(an_app(world), reply, ReplyResolution.SENT)
