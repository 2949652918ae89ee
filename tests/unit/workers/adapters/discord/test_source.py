"""Discord's messages by its gateway: in order, once, whatever happens to the connection and to whoever holds it."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from agentbus.contracts.clock import Clock
from agentbus.contracts.messages import CommandContent, InboundMessage
from agentbus.workers.adapters.discord import CHANNEL, shard
from agentbus.workers.adapters.discord.account import DiscordAccount
from agentbus.workers.adapters.discord.source import DiscordSource
from agentbus.workers.adapters.port import NotNow, Place
from tests.platforms.discord import interaction
from tests.platforms.discord_gateway import BOT, FakeDiscordGateway, message, served, texts, user
from tests.platforms.model import TOKEN

ACCOUNT = DiscordAccount(token=TOKEN, messages=True, api="http://discord.test/api")


class Noon(Clock):
    def now(self) -> datetime:
        return datetime(2025, 11, 27, 12, tzinfo=UTC)


@pytest.fixture
async def discord() -> AsyncIterator[FakeDiscordGateway]:
    async with served() as fake:
        yield fake


class Sources:
    """What asks, one after the other; all are closed in the end."""

    def __init__(self, discord: FakeDiscordGateway) -> None:
        self._discord = discord
        self.all: list[DiscordSource] = []

    def new(self, place: Place | None = None, account: DiscordAccount = ACCOUNT, shard: int = 0) -> DiscordSource:
        one = DiscordSource("mybot", account, shard, httpx.MockTransport(self._discord.handle))
        one.go_on(json.loads(json.dumps(place)) if place is not None else None)
        self.all.append(one)
        return one


@pytest.fixture
async def sources(discord: FakeDiscordGateway) -> AsyncIterator[Sources]:
    found = Sources(discord)
    yield found
    for one in found.all:
        await one.close()


async def heard(source: DiscordSource, count: int, *, tries: int = 40) -> list[InboundMessage]:
    """Take what comes until there are so many messages; what the platform gives not now is asked for again at once."""
    found: list[InboundMessage] = []
    while len(found) < count:
        try:
            received = await source.next(Noon())
        except NotNow:
            tries -= 1
            assert tries, "it never gives anything"
            continue
        found += received.messages
        source.taken()
    return found


async def ready(source: DiscordSource) -> Place:
    """Take all that comes before somebody writes."""
    while not (place := source.place) or not place["session"] or place["servers"]:
        await source.next(Noon())
        source.taken()
    return place


def placed(source: DiscordSource) -> dict[str, Any]:
    assert source.place
    return dict(source.place)


async def refusals(source: DiscordSource, count: int) -> list[NotNow]:
    found: list[NotNow] = []
    while len(found) < count:
        try:
            await source.next(Noon())
            source.taken()
        except NotNow as error:
            found.append(error)
    return found


async def test_what_people_write_comes_until_it_is_taken(discord: FakeDiscordGateway, sources: Sources) -> None:
    source = sources.new()
    await ready(source)
    discord.say(message(1, "a"), message(2, "ours", author=user(int(BOT), bot=True)), message(3, "b"))

    while not (received := await source.next(Noon())).messages:
        source.taken()
    assert await source.next(Noon()) is received, "nobody said that it was taken"
    place = source.place
    source.taken()
    assert source.place != place
    found = [*received.messages, *(await heard(source, 2 - len(received.messages)))]
    assert texts(found) == ["a", "b"]
    [asked] = discord.identified
    assert (asked["shard"], asked["compress"]) == ([0, 1], False)
    assert asked["intents"] == 1 << 0 | 1 << 9 | 1 << 10 | 1 << 12 | 1 << 13 | 1 << 15


async def test_after_a_cut_it_goes_on_behind_what_was_taken(discord: FakeDiscordGateway, sources: Sources) -> None:
    source = sources.new()
    await ready(source)
    discord.say(message(1, "a"))
    assert texts(await heard(source, 1)) == ["a"]
    taken = placed(source)["number"]
    for cut in (discord.cut, lambda: discord.raw('{"op": 7}'), lambda: discord.raw('{"op": 9, "d": true}')):
        cut()
        discord.say(message(2, "b"), message(3, "c"))
        found = await heard(source, 2)
        assert texts(found) == ["b", "c"]
        assert discord.resumed[-1]["seq"] == discord.beats[-1] == taken
        taken = placed(source)["number"]
    assert (len(discord.identified), len(discord.resumed)) == (1, 3)


async def test_whoever_takes_over_resumes_the_session_and_gets_what_was_not_taken(
    discord: FakeDiscordGateway, sources: Sources
) -> None:
    first = sources.new()
    place = await ready(first)
    discord.say(message(1, "a"), message(2, "b"))
    reaction = {"user_id": "7", "channel_id": "8", "message_id": "5", "emoji": {"id": None, "name": "👍"}}
    discord.dispatch("MESSAGE_REACTION_ADD", reaction)
    while not (received := await first.next(Noon())).messages:
        first.taken()  # and then it is stopped, and takes nothing more

    second = sources.new(place)
    found = await heard(second, 3)
    assert [one.content.kind for one in found] == ["text", "text", "reaction"]
    assert [one.input_id() for one in found][: len(received.messages)] == [one.input_id() for one in received.messages]
    assert (len(discord.identified), len(discord.resumed)) == (1, 1)


async def test_what_was_said_in_a_gap_is_read_from_history_before_what_comes_then(
    discord: FakeDiscordGateway, sources: Sources
) -> None:
    first = sources.new()
    await ready(first)
    discord.say(message(1, "a"), message(2, "p", channel="55", server=False))
    await heard(first, 2)
    place = first.place
    await first.close()
    discord.forget()
    discord.say(*(message(600_000 + number, f"gap {number}") for number in range(250)))
    discord.say(message(700_000, "private", channel="55", server=False))
    discord.history["gone"] = [message(700_001, "x", channel="gone")]

    killed = sources.new(place)
    await heard(killed, 150)
    halfway = placed(killed)
    await killed.close()
    assert halfway["session"] == "s2"
    discord.forget()

    last = sources.new(halfway)
    await refusals(last, 1)
    assert not (await last.next(Noon())).messages, "it has only begun"
    discord.say(message(800_000, "now"))
    # What was said before the gap comes too, and what is both in history and dispatched comes twice: known by its id.
    found = await heard(last, 1 + 250 + 2 + 2)
    said = {one.input_id(): one for one in found if one.address.chat == "8"}
    assert texts(said.values()) == ["a", *(f"gap {number}" for number in range(250)), "now"]
    assert texts(one for one in found if one.address.chat == "55") == ["p", "private"]
    assert len(discord.identified) == 3
    assert placed(last)["servers"] == []


async def test_a_gap_is_filled_however_few_requests_the_platform_takes_at_a_time(
    discord: FakeDiscordGateway, sources: Sources
) -> None:
    first = sources.new()
    await ready(first)
    chats = [str(100 + number) for number in range(6)]
    discord.say(*(message(number, "before", channel=chat, server=False) for number, chat in enumerate(chats)))
    await heard(first, len(chats))
    place = first.place
    await first.close()
    discord.forget()
    for said in discord.history.values():
        said.clear()
    discord.say(message(400_000, "meanwhile", channel=chats[-1], server=False))
    discord.room = 2
    assert texts(await heard(sources.new(place), 1)) == ["meanwhile"]


async def test_a_session_that_is_forgotten_is_begun_anew(discord: FakeDiscordGateway, sources: Sources) -> None:
    source = sources.new()
    await ready(source)
    discord.say(message(1, "a"))
    await heard(source, 1)
    discord.forgetful = True
    discord.forget()
    discord.say(message(2, "b"))
    found = await heard(source, 2)
    assert texts(found) == ["a", "b"], "the first one is a repeat"
    assert (len(discord.resumed), len(discord.identified)) == (1, 2)


HELLO = '{"op": 10, "d": {"heartbeat_interval": %s}}'


FRAMES: list[str | bytes] = [
    *("", "null", "[1]", "{", "[" * 100_000, '{"op": "0"}', '{"op": 0, "t": 7, "s": 1}', '{"op": 0, "t": "X"}'),
    *(HELLO % beat for beat in ("0", "-1", "NaN", "1e999", '"soon"', "null")),
    '{"op": 10}',
    '{"op": 0, "t": "READY", "s": 1, "d": {"user": 7}}',
    b"x\x9c\x00\x00\xff\xff",
    json.dumps({"op": 0, "t": "X", "s": 1, "d": "x" * 70_000}),
]


async def test_what_is_no_frame_of_a_gateway_ends_the_connection_and_is_no_loss(
    discord: FakeDiscordGateway, sources: Sources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard, "MOST_BYTES", 65_536)
    for number, frame in enumerate(FRAMES):
        source = sources.new()
        if "READY" not in str(frame):
            discord.instead = [frame]
            [refused] = await refusals(source, 1)
            assert TOKEN not in str(refused)
        await ready(source)
        discord.say(message(2 * number, "a"))
        discord.raw(frame)
        discord.say(message(2 * number + 1, "b"))
        found = await heard(source, 2)
        assert (texts(found)[0], texts(found)[-1]) == ("a", "b"), frame[:30]
        await source.close()
        discord.forget()


async def test_an_operation_or_a_dispatch_that_is_not_known_is_passed_over(
    discord: FakeDiscordGateway, sources: Sources
) -> None:
    source = sources.new()
    await ready(source)
    discord.raw('{"op": 77, "d": {}}')
    discord.dispatch("SOMETHING_NEW", {"x": [1]})
    discord.dispatch("TYPING_START", None)
    discord.dispatch("MESSAGE_WHATEVER", {"channel_id": "8", "user_id": "7"})
    discord.say(message(1, "a"))
    found = await heard(source, 2)
    assert [one.content.kind for one in found] == ["unsupported", "text"]
    assert discord.opened == 1


@pytest.mark.parametrize(
    ("code", "told"),
    [(4004, "does not know the bot's token"), (4011, "shards"), (4014, "Message Content Intent"), (4012, "4012")],
)
async def test_a_connection_that_is_closed_for_good_says_why(
    discord: FakeDiscordGateway, sources: Sources, code: int, told: str
) -> None:
    discord.instead = [code]
    [refused] = await refusals(sources.new(), 1)
    assert told in str(refused)


async def test_a_wrong_token_and_too_many_sessions_are_told_and_nobody_connects(
    discord: FakeDiscordGateway, sources: Sources
) -> None:
    wrong = ACCOUNT.model_copy(update={"token": "another"})
    [refused] = await refusals(sources.new(account=wrong), 1)
    assert str(refused) == "Discord does not know the bot's token"
    discord.left = 3
    [refused] = await refusals(sources.new(), 1)
    assert "no more sessions for 14400 s" in str(refused)
    discord.url = "http://discord.test/"
    discord.left = 1000
    [refused] = await refusals(sources.new(), 1)
    assert "none that the token may be shown to" in str(refused)
    encrypted = ACCOUNT.model_copy(update={"api": "https://discord.test/api"})
    discord.url = "ws://discord.test/"
    [refused] = await refusals(sources.new(account=encrypted), 1)
    assert "none that the token may be shown to" in str(refused)
    assert discord.opened == 0


async def test_a_connection_that_ends_again_and_again_is_not_tried_without_a_pause(
    discord: FakeDiscordGateway, sources: Sources
) -> None:
    source = sources.new()
    await ready(source)
    discord.instead = ["{"] * 6
    discord.cut()
    waits = [one.after for one in await refusals(source, 6)]
    assert sum(waits) > 20
    assert waits == sorted(waits)
    discord.say(message(1, "a"))
    await heard(source, 1)
    assert len(discord.identified) == 2, "what is resumed in vain is begun anew"


async def test_more_than_there_is_room_for_waits_at_discord(discord: FakeDiscordGateway, sources: Sources) -> None:
    source = sources.new()
    await ready(source)
    discord.say(*(message(number, f"{number}") for number in range(500)))
    assert texts(await heard(source, 500)) == [f"{number}" for number in range(500)]
    assert discord.opened == 1


async def test_a_command_that_is_dispatched_is_answered_once_it_is_taken(
    discord: FakeDiscordGateway, sources: Sources
) -> None:
    source = sources.new()
    await ready(source)
    discord.dispatch("INTERACTION_CREATE", interaction(2, data={"name": "ask"}))
    while not (received := await source.next(Noon())).messages:
        source.taken()
    assert received.messages[0].content == CommandContent(name="ask")
    assert discord.answered == []
    source.taken()
    discord.say(message(1, "a"))
    await heard(source, 1)
    assert discord.answered == [{"type": 4, "data": {"content": "…", "flags": 64}}]


async def test_each_shard_is_asked_for_by_itself(discord: FakeDiscordGateway, sources: Sources) -> None:
    account = ACCOUNT.model_copy(update={"shards": 2})
    source = sources.new(account=account, shard=1)
    await ready(source)
    assert discord.identified[0]["shard"] == [1, 2]
    assert CHANNEL.sources
    made = CHANNEL.sources("mybot", account)
    assert [one.share for one in made] == ["", "1"]
    for one in made:
        await one.close()
    assert not CHANNEL.sources("mybot", DiscordAccount(token=TOKEN))
    with pytest.raises(ValueError, match="messages needs the token"):
        DiscordAccount(messages=True)


async def test_a_place_that_makes_no_sense_is_none(discord: FakeDiscordGateway, sources: Sources) -> None:
    source = sources.new({"session": 7, "number": "x"})
    await ready(source)
    assert (len(discord.identified), discord.resumed) == (1, [])


def test_no_secret_shows() -> None:
    assert TOKEN not in repr(ACCOUNT)
