"""Telling what is being written: at a pace, best effort, and never in the way of the reply."""

import asyncio

import pytest

from agentbus.contracts.commands import CommandReply
from agentbus.contracts.errors import BrokerUnavailable, ReplyTimeout, SessionNotFound
from agentbus.contracts.ids import InputId
from agentbus.contracts.writing import Writing
from agentbus.writing import AtWork, Telling, WrittenReply, written
from tests.harness.patience import PATIENCE


class Ears:
    """Whoever is told; fails as it is told."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.failure = failure
        self.heard: list[Writing] = []
        self.told = asyncio.Event()

    async def tell(self, writing: Writing) -> None:
        self.heard.append(writing)
        self.told.set()
        if self.failure:
            raise self.failure


async def said(text: str) -> CommandReply:
    return CommandReply(command_id=InputId(text))


async def heard(ears: Ears) -> None:
    async with asyncio.timeout(PATIENCE):
        await ears.told.wait()


async def test_what_is_written_is_told_and_said() -> None:
    ears = Ears()
    async with written(Telling(ears.tell, "w", None), said) as reply:
        await reply.write("one")
        await heard(ears)
        await reply.write(" two")
    assert ears.heard[0] == Writing(id="w", text="one")
    assert not any(one.over for one in ears.heard)
    assert reply.sent is not None
    assert reply.sent.command_id == "one two"


async def test_what_raises_or_is_cancelled_is_given_up_and_not_said() -> None:
    said_anyway: list[str] = []

    async def say(text: str) -> CommandReply:
        said_anyway.append(text)
        return await said(text)

    async def break_off(ears: Ears, error: type[BaseException]) -> None:
        async with written(Telling(ears.tell, "w", None), say) as reply:
            await reply.write("one")
            await heard(ears)
            raise error

    for error in (LookupError, asyncio.CancelledError):
        ears = Ears()
        with pytest.raises(error):
            await break_off(ears, error)
        assert ears.heard[-1] == Writing(id="w", over=True)
    assert said_anyway == []


async def test_of_what_nobody_heard_nothing_is_given_up() -> None:
    ears = Ears()
    async with written(Telling(ears.tell, "w", None), said) as reply:
        await reply.write("  ")
    assert (ears.heard, reply.sent) == ([], None)


@pytest.mark.parametrize("failure", [SessionNotFound("gone"), BrokerUnavailable("down"), ReplyTimeout("silent")])
async def test_whoever_can_t_be_told_is_not_in_the_way(failure: Exception) -> None:
    ears = Ears(failure)
    async with written(Telling(ears.tell, "w", None), said) as reply:
        await reply.write("one")
        await heard(ears)
    assert reply.sent is not None


async def test_nobody_goes_on_telling_whom_nobody_hears() -> None:
    telling = Telling(Ears(ReplyTimeout("silent")).tell, "w", None)
    assert [await telling.once() for _ in range(2)] == [True, False]
    assert await Telling(Ears(SessionNotFound("gone")).tell, "w", None).once() is False


async def test_the_text_is_kept_once_however_many_parts_it_comes_in() -> None:
    reply = WrittenReply[CommandReply]()
    for _ in range(1000):
        await reply.write("x")
        assert reply.text
    assert (len(reply.text), len(reply._parts)) == (1000, 1)


async def test_who_answers_at_once_is_not_seen_at_work_and_who_does_not_is_until_it_is_done() -> None:
    ears, at_work = Ears(), AtWork()
    async with at_work.while_at_work(Telling(ears.tell, "t", None)):
        pass
    assert ears.heard == []
    async with at_work.while_at_work(Telling(ears.tell, "t", None)):
        await heard(ears)
    async with asyncio.timeout(PATIENCE):
        while len(ears.heard) < 2:
            await asyncio.sleep(0)
    assert [one.over for one in ears.heard] == [False, True]
    await at_work.close()
