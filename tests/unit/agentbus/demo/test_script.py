import asyncio
from unittest.mock import create_autospec

import pytest

from agentbus.client import AgentBus
from agentbus.composition.app import App
from agentbus.contracts.envelope import EventEnvelope
from agentbus.demo import script, waiting
from agentbus.demo.script import Show
from agentbus.demo.waiting import DemoStuck, patience
from tests.harness.builders import a_conversation, appended


@pytest.fixture
def play() -> script._Play:
    show = Show(say=lambda _: None, expect=lambda _: None, progress=lambda _: None)
    return script._Play(create_autospec(App), create_autospec(AgentBus), show)


def announced(sequence: int) -> EventEnvelope:
    return EventEnvelope.of(appended(a_conversation("ada"), sequence, str(sequence)))


async def test_the_demo_says_what_it_waited_for_in_vain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "PATIENCE", 0.01)
    with pytest.raises(DemoStuck, match=r"waited 0.01 s, .*: two messages are announced"):
        async with patience("two messages are announced"):
            await asyncio.Event().wait()


async def test_the_demo_has_patience_while_messages_come(play: script._Play, monkeypatch: pytest.MonkeyPatch) -> None:
    begun = list[str]()

    def noted(what: str) -> object:
        begun.append(what)
        return patience(what)

    monkeypatch.setattr(script, "patience", noted)
    waits = asyncio.create_task(play.until_announced(3))
    for number in range(3):
        await asyncio.sleep(0)
        assert (len(begun), waits.done()) == (number + 1, False), "it begins to wait anew"
        await play.on_message(announced(number + 1))
        await asyncio.sleep(0)
    await waits
    assert begun[-1] == "of 3 messages, more than 2 are announced"


async def test_the_demo_is_stuck_when_no_more_messages_come(
    play: script._Play, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "PATIENCE", 0.01)
    await play.on_message(announced(1))
    with pytest.raises(DemoStuck, match="of 2 messages, more than 1"):
        await play.until_announced(2)
