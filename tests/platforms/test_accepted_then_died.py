"""A platform accepts a message, and the connection dies: what the table in docs/replies.md says holds, to the letter.

`make channels` has it 200 times for each platform, over sockets.
"""

from typing import Final

import pytest

from agentbus.contracts.replies import InDoubt
from agentbus.workers.outbound.outbox import Outbox
from tests.platforms.catalog import PLATFORMS
from tests.platforms.dying import broken_by
from tests.platforms.model import FakePlatform, mortal
from tests.platforms.serving import served
from tests.platforms.telegram import FakeTelegram
from tests.platforms.webhook import FakeWebhook

DEATHS: Final = 10
_FEW: Final = 1

each = pytest.mark.parametrize("kind", PLATFORMS, ids=lambda kind: kind.__name__.removeprefix("Fake").lower())


@each
@pytest.mark.parametrize("in_doubt", InDoubt)
async def test_what_is_promised_of_it_holds(kind: type[FakePlatform], in_doubt: InDoubt) -> None:
    platform = kind()
    async with platform.client() as client:
        assert await broken_by(platform, in_doubt, deaths=DEATHS, client=client) == []


async def test_it_holds_over_sockets() -> None:
    platforms: list[FakePlatform] = [FakeTelegram(), FakeWebhook()]
    async with served(platforms) as api, mortal() as client:
        for one in platforms:
            found = await broken_by(one, InDoubt.HOLD, deaths=_FEW, client=client, api=f"{api}/{one.name}")
            assert found == []


async def test_a_platform_that_forgets_its_keys_is_noticed() -> None:
    class Forgetful(FakeWebhook):
        def message_in(self, request: object) -> tuple[str, str, str] | None:
            made = super().message_in(request)  # type: ignore[arg-type] # it is handed on
            return made and (made[0], made[1], "")

    platform = Forgetful()
    async with platform.client() as client:
        [found] = await broken_by(platform, InDoubt.HOLD, deaths=_FEW, client=client)
    assert found.startswith("twice at the platform")


async def test_a_sender_that_notes_nothing_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(*_: object) -> None:
        return

    monkeypatch.setattr(Outbox, "note", nothing)
    platform = FakeTelegram()
    async with platform.client() as client:
        found = await broken_by(platform, InDoubt.HOLD, deaths=_FEW, client=client)
    assert found[0].startswith("twice at the platform")
