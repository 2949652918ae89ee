import logging

import httpx
import pytest

from agentbus.workers.adapters.discord.api import DiscordApi
from agentbus.workers.adapters.telegram.outbound import TelegramOutbound

TOKEN = "123:abc-def_"  # noqa: S105 - nobody's


async def test_the_token_is_in_no_line_of_httpx_where_something_is_sent(caplog: pytest.LogCaptureFixture) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json={"ok": True}))
    async with httpx.AsyncClient(transport=transport) as client:
        TelegramOutbound("https://api.telegram.org", TOKEN, client)
        with caplog.at_level(logging.INFO, "httpx"):
            await client.post(f"https://api.telegram.org/bot{TOKEN}/sendMessage")
    assert "/bot***/sendMessage" in caplog.text
    assert TOKEN not in caplog.text


async def test_the_token_of_an_interaction_is_in_none_either(caplog: pytest.LogCaptureFixture) -> None:
    api = DiscordApi("https://discord.test/api", "t", httpx.MockTransport(lambda _: httpx.Response(204)))
    with caplog.at_level(logging.INFO, "httpx"):
        await api.answer({"id": "5", "token": "aW50ZXJhY3Rpb24.x-y_z"}, b"{}")
    await api.close()
    assert "/interactions/5/***/callback" in caplog.text
    assert "aW50" not in caplog.text
