"""The session library does what its model says: some thousand steps, and what would show that it does not is shown."""

from collections import Counter
from typing import Any

import pytest

from agentbus.sessions import SessionSystem
from agentbus.sessions.engine import Engine
from contracts.commands import AppendMessage, CommandReply
from contracts.ids import InputId
from tests.models.finding import smallest
from tests.models.library_calls import ELSEWHERE, LATER, READS, played_calls, public_calls, unknown_arguments, unplayed
from tests.models.library_moves import RULES
from tests.models.library_run import play
from tests.models.library_world import Services
from tests.tour.world import Mode

WORLDS = [
    *((Mode.MEMORY, seed, 350) for seed in (1, 2, 3, 4)),
    (Mode.SQLITE, 11, 150),
    (Mode.FILES, 21, 200),
    (Mode.MONGODB, 31, 125),
    (Mode.DISTRIBUTED, 41, 125),
]
"""2,000 steps: mode, seed, and how many."""


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("mode", "seed", "steps"), WORLDS)
async def test_the_library_does_what_its_model_says(
    mode: Mode, seed: int, steps: int, request: pytest.FixtureRequest
) -> None:
    broker = request.getfixturevalue("rabbitmq") if mode is Mode.DISTRIBUTED else None
    mongo = request.getfixturevalue("mongodb") if mode in {Mode.MONGODB, Mode.DISTRIBUTED} else None
    counts = Counter[str]()
    found = await play(mode, seed, range(steps), Services(broker, mongo), counts)
    assert found is None, str(found)
    assert counts.total() > steps / 3, f"most calls were refused: {counts}"
    if mode is Mode.MEMORY:
        assert len(counts.keys() & RULES.keys()) > 0.8 * len(RULES), f"some were never carried out: {counts}"


def test_every_public_call_is_played_or_said_not_to_be() -> None:
    assert unplayed() == set()
    assert (played_calls() | READS | ELSEWHERE.keys() | LATER) - public_calls() == set()


def test_a_new_call_without_a_rule_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SessionSystem, "dance_with_session", lambda self: self, raising=False)
    assert unplayed() == {"dance_with_session"}


@pytest.mark.parametrize("name", sorted(played_calls()))
def test_the_model_takes_every_argument_of_a_call(name: str) -> None:
    assert unknown_arguments(name) == set()


async def test_what_a_call_forgets_is_found_and_made_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A session that is closed without being so: two or three calls show it."""

    async def forgets(*_: Any, **__: Any) -> None:
        return None

    monkeypatch.setattr(SessionSystem, "close_session", forgets)
    found = await play(Mode.MEMORY, 1, range(300), Services())
    assert found is not None
    found = await smallest(found, lambda steps: play(Mode.MEMORY, 1, steps, Services()))
    assert len(found.steps) <= 3, str(found)
    assert f"SEED=1 ONLY={','.join(map(str, found.steps))}" in str(found)
    assert "close_session" in found.said[-1]


async def test_what_is_lost_between_two_at_once_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages that come at the same moment as something else, and are told to be kept."""
    real, asking = Engine.send, 0

    async def loses(self: Engine, command: Any, **given: Any) -> Any:
        nonlocal asking
        asking += 1
        try:
            if asking > 1 and isinstance(command, AppendMessage):
                return CommandReply(command_id=InputId("lost"))
            return await real(self, command, **given)
        finally:
            asking -= 1

    monkeypatch.setattr(Engine, "send", loses)
    for seed in range(1, 6):
        if found := await play(Mode.MEMORY, seed, range(300), Services()):
            break
    assert found is not None
    assert any("at once" in line for line in found.said[-2:]), str(found)
