import logging
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from agentbus.contracts.clock import Clock
from agentbus.workers.adapters.port import NotNow
from agentbus.workers.adapters.telegram import CHANNEL
from agentbus.workers.adapters.telegram.account import TelegramAccount
from agentbus.workers.adapters.telegram.source import TelegramSource
from tests.platforms.model import TOKEN
from tests.platforms.telegram import FakeTelegram, message, update

ACCOUNT = TelegramAccount(token=TOKEN, polling=True)


class Noon(Clock):
    def now(self) -> datetime:
        return datetime(2025, 11, 27, 12, tzinfo=UTC)


@pytest.fixture
def api() -> FakeTelegram:
    return FakeTelegram()


@pytest.fixture
async def source(api: FakeTelegram) -> AsyncIterator[TelegramSource]:
    source = TelegramSource("mybot", ACCOUNT, httpx.MockTransport(api.handle))
    yield source
    await source.close()


async def ids(source: TelegramSource) -> list[str]:
    return [one.message_id for one in (await source.next(Noon())).messages]


async def test_what_is_new_comes_until_it_is_taken(api: FakeTelegram, source: TelegramSource) -> None:
    api.updates = [update(5, message=message(1, text="a")), update(6, message=message(2, text="b"))]

    assert await ids(source) == ["1", "2"]
    assert await ids(source) == ["1", "2"], "nobody said that it was taken"
    source.taken()
    assert await ids(source) == []
    api.updates.append(update(7, message=message(3, text="c")))
    assert await ids(source) == ["3"]
    assert [one["offset"] for one in api.asked] == [0, 0, 7, 7]
    assert "message_reaction" in api.asked[0]["allowed_updates"]


async def test_what_is_no_update_is_passed_over_and_what_is_not_understood_is_kept(
    api: FakeTelegram, source: TelegramSource
) -> None:
    api.answers = [httpx.Response(200, json={"ok": True, "result": [7, {"update_id": "x"}, update(8, poll={})]})]
    received = await source.next(Noon())
    assert (received.ignored, [one.content.kind for one in received.messages]) == (2, ["unsupported"])


def refusal(status: int, description: str, **parameters: Any) -> httpx.Response:
    return httpx.Response(status, json={"ok": False, "description": description, "parameters": parameters})


@pytest.mark.parametrize(
    ("answer", "told", "after"),
    [
        (refusal(401, "Unauthorized"), "does not know the bot's token", 30.0),
        (refusal(409, "Conflict: terminated by other getUpdates"), "let nobody else ask", 30.0),
        (refusal(429, "Too Many Requests", retry_after=7), "429", 7.0),
        (refusal(429, "Too Many Requests", retry_after=86400), "429", 30.0),
        (refusal(429, "Too Many Requests", retry_after="soon"), "429", 5.0),
        (httpx.Response(502, text="Bad Gateway"), "502", 5.0),
        (httpx.Response(500, json=[1]), "500", 5.0),
        (httpx.ConnectError(f"to /bot{TOKEN}/getUpdates"), "ConnectError", 5.0),
        (httpx.ReadTimeout(f"of /bot{TOKEN}/getUpdates"), "ReadTimeout", 5.0),
    ],
)
async def test_a_refusal_says_what_and_for_how_long_and_never_the_token(
    api: FakeTelegram, source: TelegramSource, answer: httpx.Response | Exception, told: str, after: float
) -> None:
    api.answers = [answer]
    with pytest.raises(NotNow, match=told) as raised:
        await source.next(Noon())
    assert raised.value.after == after
    assert TOKEN not in str(raised.value)
    assert raised.value.__suppress_context__ or raised.value.__context__ is None


async def test_httpx_does_not_log_the_token(source: TelegramSource, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "httpx"):
        await source.next(Noon())
    assert "/bot***/getUpdates" in caplog.text
    assert TOKEN not in caplog.text


async def test_an_account_is_asked_for_only_if_it_says_so() -> None:
    assert CHANNEL.sources is not None
    assert not CHANNEL.sources("mybot", TelegramAccount(token=TOKEN))
    [source] = CHANNEL.sources("mybot", ACCOUNT)
    assert isinstance(source, TelegramSource)
    await source.close()
    with pytest.raises(ValueError, match="polling needs the token"):
        TelegramAccount(polling=True)
