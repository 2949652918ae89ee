"""What a visitor is told, by whatever gateway, and when their connection ends."""

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from agentbus.contracts.address import Scope, conversation_id_for
from agentbus.contracts.commands import (
    AppendMessage,
    CommandReply,
    CreateSession,
    DeleteMessage,
    DeleteSession,
    EditMessage,
    SendReply,
)
from agentbus.contracts.errors import PublishUnconfirmed, StoreUnavailable
from agentbus.contracts.messages import OutboundMessage, Role, TextContent
from agentbus.contracts.writing import Writing, WritingEnvelope
from agentbus.workers.adapters.webchat.feed import COMMITS, OPENING, Place
from agentbus.workers.adapters.webchat.talking import Ended
from agentbus.workers.adapters.webchat.visits import Limits
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.bus.port import Message
from agentbus.workers.delivery.inputs import Inputs
from agentbus.workers.gateway.listening import Listening
from tests.harness.patience import PATIENCE
from tests.harness.webchat import SECRET, House, Window, house, place_of, token
from tests.platforms.webchat import token as signed

MINE = {"from": "visitor", "id": "m1", "text": "hello"}


async def test_what_somebody_writes_is_taken_once_the_broker_has_it_and_comes_back_from_the_log() -> None:
    async with house() as home, home.window() as window:
        assert await window.next() == {"type": "welcome"}
        assert await window.next() == {"type": "opening", "place": "0", "messages": []}
        window.say("hello", "m1")
        frames = [await window.next(), await window.next()]

        [taken] = [one for one in frames if one["type"] == "taken"]
        [shown] = [one for one in frames if one["type"] == "message"]
        assert taken == {"type": "taken", "id": "m1"}
        assert shown["message"].items() >= MINE.items()
        assert shown["place"].startswith("1.1.")


async def test_what_is_sent_again_is_taken_again_and_is_there_once() -> None:
    async with house(limits=Limits(rate=1e6)) as home, home.window() as window:
        for _ in range(3):
            window.say("hello", "m1")
            assert (await window.until("taken"))["id"] == "m1"
        window.say("bye", "m2")
        await window.until_said("bye")
        async with home.window() as again:
            assert await again.until_said("bye") == ["hello", "bye"]


async def test_a_reply_comes_to_all_windows_whichever_gateway_they_are_at() -> None:
    async with house(gateways=2) as home, home.window() as one, home.stream(gateway=1) as other:
        for window in (one, other):
            await window.until("opening")
        await home.reply("**Yes?**")
        for window in (one, other):
            said = (await window.until("message"))["message"]
            assert (said["from"], said["text"]) == ("bot", "**Yes?**")


@pytest.mark.parametrize("again", ["socket", "stream"])
async def test_whoever_comes_back_gets_all_since_then_in_order_once_from_another_gateway(again: str) -> None:
    many = COMMITS * 2 + 3
    async with house(gateways=2) as home:
        async with home.window() as window:
            await window.until("opening")
            await home.reply("first")
            place = (await window.until("message"))["place"]
            await window.kill()
        for number in range(many):
            await home.reply(f"reply {number}")
        opened = home.window(gateway=1, place=place) if again == "socket" else home.stream(gateway=1, place=place)
        async with opened as window:
            assert await window.until_said(f"reply {many - 1}") == [f"reply {number}" for number in range(many)]
            await home.reply("live")
            assert await window.until_said("live") == ["live"]


async def test_a_stream_goes_on_from_the_last_event_that_the_browser_names() -> None:
    async with house() as home:
        async with home.stream() as window:
            await home.reply("first")
            await window.until_said("first")
            await home.reply("second")
            place = (await window.until("message"))["place"]
        await home.reply("third")
        async with home.stream(place="0", **{"last-event-id": place}) as window:
            assert await window.until_said("third") == ["third"]


async def test_places_within_a_commit_are_told_apart() -> None:
    """A message that starts a session, and a reply, may be committed together: who saw the first gets the second."""
    async with house() as home, home.window() as window:
        await window.until("opening")
        await home.reply("first")
        place = Place.read((await window.until("message"))["place"])
        assert place
        assert place.event
        before = Place(place.version, (place.event[0], place.event[1] - 1))
        async with home.window(place=str(before)) as again:
            assert await again.until_said("first") == ["first"]


@pytest.mark.parametrize("place", ["999", "999.1.1", "x", "-1", "1.1", "9" * 40, "1.1.1\n"])
async def test_a_place_that_there_is_not_begins_anew(place: str) -> None:
    async with house() as home:
        await home.reply("first")
        async with home.window(place=place) as window:
            assert [one["text"] for one in (await window.until("opening"))["messages"]] == ["first"]


async def test_a_window_opens_with_the_latest_messages_as_they_read_now() -> None:
    async with house() as home:
        for number in range(OPENING + 2):
            last = await home.reply(f"reply {number}")
        *_, before, latest = await keys_of(home, last)
        await home.client.send(EditMessage(session_id=last.session_id, target=latest, text="changed"))
        await home.client.send(DeleteMessage(session_id=last.session_id, target=before))
        async with home.window() as window:
            *others, last_one = (await window.until("opening"))["messages"]
            assert [one["text"] for one in others] == [f"reply {number}" for number in range(1, OPENING)]
            assert (last_one["text"], last_one["edited"]) == ("changed", True)


async def keys_of(home: House, reply: CommandReply) -> list[str]:
    page = await home.client.history(str(reply.session_id))
    return [one.message.key for one in page.items]


async def test_what_is_edited_or_taken_back_is_told_also_to_who_comes_back() -> None:
    async with house() as home, home.window() as window:
        await window.until("opening")
        for text in ("one", "two"):
            last = await home.reply(text)
        one, two = await keys_of(home, last)
        place = (await window.until("message"))["place"]
        await window.until_said("two")
        await home.client.send(EditMessage(session_id=last.session_id, target=one, text="uno"))
        await home.client.send(DeleteMessage(session_id=last.session_id, target=two))
        edited, deleted = await window.next(), await window.next()
        assert (edited["type"], edited["key"], edited["text"]) == ("edited", one, "uno")
        assert (deleted["type"], deleted["key"]) == ("deleted", two)
        async with home.window(place=place) as again:
            told = [(await again.next())["type"] for _ in range(4)]
            assert told == ["welcome", "message", "edited", "deleted"]
        await home.client.send(DeleteSession(session_id=last.session_id))
        assert (await window.next())["type"] == "cleared"


async def test_in_a_conversation_of_many_chats_a_visitor_sees_their_own_alone() -> None:
    async with house(scope=Scope.MAIN) as home, home.window("ann") as ann, home.window("bob") as bob:
        for window in (ann, bob):
            await window.until("opening")
        await home.reply("to bob", "bob")
        last = await home.reply("to ann", "ann")
        to_bob, to_ann = await keys_of(home, last)
        for target, text in ((to_bob, "to Bob"), (to_ann, "to Ann")):
            await home.client.send(EditMessage(session_id=last.session_id, target=target, text=text))
        for window, name in ((ann, "ann"), (bob, "bob")):
            assert [(await window.next()).get("text") or "", (await window.next())["text"]][1] == f"to {name.title()}"
        async with home.window("ann") as again:
            assert [one["text"] for one in (await again.until("opening"))["messages"]] == ["to Ann"]


async def test_instructions_and_results_of_tools_are_nobodys_to_see() -> None:
    async with house() as home, home.window() as window:
        await window.until("opening")
        await home.client.send(CreateSession(address=place_of()))
        for role in (Role.SYSTEM, Role.TOOL):
            said = OutboundMessage(role=role, content=TextContent(text="secret"))
            await home.client.send(AppendMessage(address=place_of(), message=said))
        await home.reply("hello")
        assert await window.until_said("hello") == ["hello"]
        async with home.window() as again:
            assert [one["text"] for one in (await again.until("opening"))["messages"]] == ["hello"]


async def test_long_messages_are_fewer_to_begin_with_and_the_last_is_always_there() -> None:
    async with house() as home:
        for letter in "abc":
            await home.reply(letter * 200_000)
        async with home.window() as window:
            [one] = (await window.until("opening"))["messages"]
            assert one["text"][0] == "c"


# While a reply is being written


async def told(home: House, text: str, *, to: str = "ann", over: bool = False) -> None:
    """Have it announced what a reply reads that is being written, as a conversation's owner does."""
    conversation = conversation_id_for(place_of(), Scope.PER_CHAT_USER)
    writing = WritingEnvelope(
        id=uuid4().hex,
        subject=f"{conversation}.1",
        partitionkey=conversation,
        data=Writing(id="the-reply", to=place_of(to), text=text, over=over),
    )
    message = Message(body=writing.to_bytes(), message_id=writing.id)
    await home.app.bus.publish(home.app.bus.topology.events, "session.writing.webchat", message, mandatory=False)


async def test_a_reply_is_shown_while_it_is_being_written_and_not_once_it_is_said() -> None:
    async with house(gateways=2) as home, home.window() as window, home.stream(gateway=1) as stream:
        for one in (window, stream):
            await one.until("opening")
        for text, over in (("", False), ("Good", False), ("Good mor", True)):
            await told(home, text, over=over)
            for one in (window, stream):
                assert await one.next() == {"type": "writing", "id": "the-reply", "text": text, "over": over}
        said = OutboundMessage(address=place_of(), content=TextContent(text="Good morning!"))
        await home.client.send(CreateSession(address=place_of()))
        await home.client.send(SendReply(address=place_of(), message=said), command_id="the-reply")
        for one in (window, stream):
            assert (await one.next())["message"]["text"] == "Good morning!"
        await told(home, "Good morning")  # late
        await home.reply("And?")
        async with home.window() as new:
            for one in (window, stream):
                assert (await one.next())["message"]["text"] == "And?"
            await new.until("opening")
            await told(home, "Good morning")
            await home.reply("Well?")
            assert (await new.next())["message"]["text"] == "Well?"


async def test_of_what_is_written_faster_than_it_is_taken_the_last_is_kept_and_of_other_chats_nothing_shown() -> None:
    async with house() as home, home.window() as window:
        await window.until("opening")
        conversation = conversation_id_for(place_of(), Scope.PER_CHAT_USER)
        with home.listening[0].to(conversation) as heard:
            await told(home, "to somebody else", to="bob")
            for number in range(100):
                await told(home, f"words {number}")
            async with asyncio.timeout(PATIENCE):
                while heard.writing is None or heard.writing.text != "words 99":
                    await heard.woken.wait()
                    heard.woken.clear()
        shown = [await window.next()]
        while shown[-1]["text"] != "words 99":
            shown.append(await window.next())
        assert all(one["text"].startswith("words") for one in shown)


# Ends


async def code_of(window: Window) -> int | None:
    """Return by which code a connection ends."""
    while await window.next():
        continue
    return window.code


@pytest.mark.parametrize(
    ("hello", "code"),
    [
        (b"\x00\xff", Ended.NONSENSE),
        ("", Ended.NONSENSE),
        ("[", Ended.NONSENSE),
        ("[]", Ended.NONSENSE),
        ("[" * 60_000, Ended.NONSENSE),
        ('{"token": "' + "x" * 70_000 + '"}', Ended.NONSENSE),
        ({}, Ended.UNKNOWN),
        ({"token": 7}, Ended.UNKNOWN),
        ({"token": "x"}, Ended.UNKNOWN),
        ({"token": token(seconds=-1)}, Ended.UNKNOWN),
        ({"token": token() + "x"}, Ended.UNKNOWN),
    ],
)
async def test_who_does_not_say_who_it_is_is_sent_away(hello: object, code: Ended) -> None:
    async with house() as home, Window(home.gateways[0].app) as window:
        window.send(hello)
        assert await code_of(window) == code


async def test_who_says_nothing_at_all_is_sent_away() -> None:
    async with house(limits=Limits(hello=0.01)) as home, Window(home.gateways[0].app) as window:
        assert await code_of(window) == Ended.IDLE


@pytest.mark.parametrize(
    "frame", [b"\x00", "", "nonsense", "[]", "\ud800", "x" * 70_000, {}, {"type": "hello"}, {"type": []}]
)
async def test_nonsense_is_refused_and_ends_nothing_until_there_is_too_much_of_it(frame: object) -> None:
    async with house(limits=Limits(rate=1e6)) as home, home.window() as window:
        await window.until("opening")
        window.send(frame)
        assert (await window.next())["reason"] == "malformed"
        window.say("hello", "m1")
        assert (await window.until("taken"))["id"] == "m1"
        for _ in range(50):
            window.send(frame)
        assert await code_of(window) == Ended.NONSENSE


@pytest.mark.parametrize(
    "frame",
    [{"id": "m 1", "text": "x"}, {"id": "m1", "text": ""}, {"id": "m1", "text": "x" * 20_000}, {"text": 7}, {"id": {}}],
)
async def test_a_message_that_is_none_is_refused_for_good(frame: dict[str, object]) -> None:
    async with house() as home, home.window() as window:
        await window.until("opening")
        window.send({"type": "message", **frame})
        refused = await window.next()
        assert (refused["type"], refused["reason"], refused["again"]) == ("refused", "malformed", False)


async def test_who_writes_too_much_is_asked_to_send_it_again() -> None:
    async with house(limits=Limits(rate=0.001)) as home, home.window() as window:
        await window.until("opening")
        window.say("one", "m1")
        window.say("two", "m2")
        await window.until("taken")
        assert await window.until("refused") == {"type": "refused", "id": "m2", "reason": "too_many", "again": True}


async def test_while_the_broker_does_not_confirm_a_message_is_to_be_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def unconfirmed(*_: object, **__: object) -> None:
        raise PublishUnconfirmed

    async with house() as home, home.window() as window:
        await window.until("opening")
        with monkeypatch.context() as patch:
            patch.setattr(Inputs, "publish", unconfirmed)
            window.say("hello", "m1")
            assert (await window.next())["reason"] == "unavailable"
        window.say("hello", "m1")
        assert await window.until_said("hello") == ["hello"]


@pytest.mark.parametrize("limits", [Limits(per_visitor=1), Limits(in_all=1)])
async def test_one_connection_too_many_is_refused_and_room_is_given_back(limits: Limits) -> None:
    async with house(limits=limits) as home:
        async with home.window() as window:
            await window.until("opening")
            async with home.window() as second, home.stream() as third:
                assert await code_of(second) == Ended.FULL
                await code_of(third)
                assert third.status == 429
        async with home.window() as window:
            assert await window.until("opening")


async def test_it_is_counted_who_is_connected() -> None:
    def counted() -> float:
        [metric] = home.app.metrics.channel_connections.collect()
        return metric.samples[0].value

    async with house() as home:
        async with home.window() as window, home.stream() as stream:
            for one in (window, stream):
                await one.until("opening")
            assert counted() == 2
        assert counted() == 0


async def test_connections_of_nobody_yet_are_bounded_too() -> None:
    async with house(limits=Limits(in_all=1)) as home, Window(home.gateways[0].app) as waiting:
        await asyncio.sleep(0)
        async with Window(home.gateways[0].app) as second:
            assert await code_of(second) == Ended.FULL
        waiting.send({"token": token()})
        assert await waiting.until("opening")


async def test_a_gateway_that_ends_sends_everybody_elsewhere_and_takes_nobody() -> None:
    async with house(gateways=2) as home, home.window() as window, home.stream() as stream:
        for one in (window, stream):
            await one.until("opening")
        await home.gateways[0].drain(1.0)
        assert await code_of(window) == Ended.ELSEWHERE
        assert await stream.next() == {}
        async with Window(home.gateways[0].app) as late:
            assert await code_of(late) == 1000  # before it is accepted: browsers are told 403
        async with home.window(gateway=1) as other:
            assert await other.until("opening")
        home.gateways[0].open()
        async with home.window() as again:
            assert await again.until("opening")


async def test_a_connection_ends_when_its_token_does() -> None:
    async with house() as home, Window(home.gateways[0].app) as window:
        ends = datetime.now(UTC).timestamp() + 0.3
        window.send({"token": signed(SECRET, {"aud": "webchat/shop", "sub": "ann", "exp": ends})})
        assert await code_of(window) == Ended.UNKNOWN


async def test_a_window_that_takes_nothing_is_let_go_and_catches_up_later() -> None:
    async with house(limits=Limits(send=0.05)) as home:
        async with home.window() as window:
            place = (await window.until("opening"))["place"]
            window.reading.clear()
            for number in range(30):
                await home.reply(f"reply {number}")
            while len(home.listening[0]):
                await asyncio.sleep(0.01)
            assert window._from_it.empty()
        async with home.window(place=place) as again:
            assert await again.until_said("reply 29") == [f"reply {number}" for number in range(30)]


async def test_a_connection_on_which_nothing_is_said_ends() -> None:
    async with house(limits=Limits(idle=0.0, look=0.01)) as home, home.window() as window:
        assert await code_of(window) == Ended.IDLE


async def test_a_stream_shows_that_it_lives_and_finds_what_nobody_has_heard_of(monkeypatch: pytest.MonkeyPatch) -> None:
    async with house(limits=Limits(look=0.01)) as home, home.stream() as stream:
        await stream.until("opening")
        monkeypatch.setattr(Listening, "wake", lambda *_: None)
        await home.reply("unheard")
        assert await stream.until_said("unheard") == ["unheard"]


async def test_while_the_log_cant_be_read_windows_are_asked_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    async with house() as home:
        async with home.window() as window:
            await window.until("opening")
            with monkeypatch.context() as patch:
                patch.setattr(home.app.store.log, "read", failing)
                await home.reply("first")
                assert await code_of(window) == Ended.LATER
        async with home.window() as window:
            assert [one["text"] for one in (await window.until("opening"))["messages"]] == ["first"]


async def failing(*_: object, **__: object) -> None:
    raise StoreUnavailable


async def test_when_the_subscription_was_lost_all_look_for_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    lost, back, real = asyncio.Event(), asyncio.Event(), MemoryBus.subscribe

    async def later(*given: Any, **more: Any) -> Any:
        lost.set()
        await back.wait()
        return await real(*given, **more)

    async with house(limits=Limits(look=10 * PATIENCE)) as home, home.window() as window:
        await window.until("opening")
        await home.reply("first")
        await window.until_said("first")
        assert isinstance(home.app.bus, MemoryBus)
        monkeypatch.setattr(MemoryBus, "subscribe", later)
        home.app.bus.disconnect()
        await asyncio.wait_for(lost.wait(), PATIENCE)
        await home.reply("second")
        back.set()
        assert await window.until_said("second") == ["second"]
        assert home.listening[0].running


async def test_what_is_committed_while_somebody_reads_the_log_is_not_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    async with house(limits=Limits(look=10 * PATIENCE)) as home, home.window() as window:
        await window.until("opening")
        await home.reply("first")
        await window.until_said("first")
        [[heard]] = home.listening[0]._waiting.values()
        real = home.app.store.log.read

        async def slow(*given: Any, **more: Any) -> Any:
            monkeypatch.undo()
            read = await real(*given, **more)
            await home.reply("third")
            async with asyncio.timeout(PATIENCE):
                while not heard.woken.is_set():
                    await asyncio.sleep(0.001)
            return read

        monkeypatch.setattr(home.app.store.log, "read", slow)
        await home.reply("second")
        assert await window.until_said("third") == ["second", "third"]


async def test_in_a_chat_of_several_nobody_takes_up_the_ids_of_others() -> None:
    async with (
        house(scope=Scope.PER_CHAT) as home,
        home.window("ann", chat="room") as ann,
        home.window("bob", chat="room") as bob,
    ):
        for window in (ann, bob):
            await window.until("opening")
        ann.say("of Ann", "m1")
        of_ann = [(await window.until("message"))["message"] for window in (ann, bob)]
        bob.say("of Bob", "m1")
        of_bob = [(await window.until("message"))["message"] for window in (ann, bob)]
        assert [(one["from"], one.get("id"), one["text"]) for one in (*of_ann, *of_bob)] == [
            ("visitor", "m1", "of Ann"),
            ("other", None, "of Ann"),
            ("other", None, "of Bob"),
            ("visitor", "m1", "of Bob"),
        ]
