"""What is asked of Discord's HTTP API by the way in: where its gateway is, and what a channel's history holds.

Source: https://discord.com/developers/docs/events/gateway#get-gateway-bot (`session_start_limit`),
.../resources/message#get-channel-messages (`after`; 100 at most, the latest first) and
.../interactions/receiving-and-responding#create-interaction-response.
"""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, Final, cast
from urllib.parse import quote

from httpx import AsyncBaseTransport, AsyncClient, HTTPError, InvalidURL, Timeout

from agentbus.contracts.text import first_bytes
from agentbus.workers.adapters.discord.snowflakes import snowflake
from agentbus.workers.adapters.masking import mask_tokens
from agentbus.workers.adapters.parsing import loaded
from agentbus.workers.adapters.port import Malformed, NotNow

PAGE: Final = 100
"""Messages of one answer."""
SOON: Final = 5.0
LATER: Final = 30.0

_PATIENCE: Final = 10.0
_MOST_BYTES: Final = 16 * 1024 * 1024
_SPARE: Final = 20
"""Sessions of a day that are left alone, for who tries something: Discord takes the token away when all are used."""
_GONE: Final = frozenset({400, 403, 404})
"""The channel is gone, the bot may not read it, or it holds no messages."""


class DiscordApi:
    """The HTTP API, as one bot."""

    def __init__(self, api: str, token: str, transport: AsyncBaseTransport | None = None) -> None:
        mask_tokens()
        self._url = api.rstrip("/")
        self._client = AsyncClient(
            transport=transport,
            headers={"Authorization": f"Bot {token}", "Accept-Encoding": "identity"},
            follow_redirects=False,
            timeout=Timeout(_PATIENCE),
        )

    @property
    def plain(self) -> bool:
        """Whether it is reached without TLS: an address of one's own."""
        return self._url.startswith("http://")

    async def gateway(self) -> str:
        """Return where a session is begun. Raises NotNow, also if too many were begun today."""
        status, body = await self._asked("GET", "gateway/bot")
        if status != 200 or not isinstance(body, dict):
            raise _refused(status, body)
        limit = body.get("session_start_limit")
        left, after = (limit.get("remaining"), limit.get("reset_after")) if isinstance(limit, dict) else (None, None)
        if isinstance(left, int) and left <= _SPARE:
            wait = after / 1000 if isinstance(after, int) else LATER
            raise NotNow(f"Discord lets the bot begin no more sessions for {wait:.0f} s", after=LATER)
        url = body.get("url")
        if not isinstance(url, str):
            raise NotNow("Discord does not say where its gateway is", after=LATER)
        return url

    async def history(self, channel: str, after: int) -> list[dict[str, Any]]:
        """Return up to PAGE messages of a channel that came after one, the first first; none if it is gone.

        Raises NotNow.
        """
        path = f"channels/{quote(channel, safe='')}/messages?limit={PAGE}&after={after}"
        status, body = await self._asked("GET", path)
        if status in _GONE:
            return []
        if status != 200 or not isinstance(body, list):
            raise _refused(status, body)
        found = [one for one in body[:PAGE] if isinstance(one, dict) and (snowflake(one.get("id")) or 0) > after]
        return sorted(found, key=lambda one: int(one["id"]))

    async def answer(self, interaction: Mapping[str, Any], body: bytes) -> None:
        """Tell whoever did something that it came. What goes wrong is seen by them alone."""
        known, token = interaction.get("id"), interaction.get("token")
        if not isinstance(known, str) or not isinstance(token, str):
            return
        path = f"interactions/{quote(known, safe='')}/{quote(token, safe='')}/callback"
        try:
            await self._asked("POST", path, body)
        except NotNow:
            return

    async def close(self) -> None:
        """Let go of connections. Idempotent."""
        await self._client.aclose()

    async def _asked(self, method: str, path: str, content: bytes | None = None) -> tuple[int, Any]:
        """Make a request; return the status and what the answer says. Raises NotNow."""
        body = bytearray()
        headers = {"Content-Type": "application/json"} if content is not None else None
        try:
            async with (
                asyncio.timeout(2 * _PATIENCE),
                self._client.stream(method, f"{self._url}/{path}", content=content, headers=headers) as response,
            ):
                parts = cast("AsyncGenerator[bytes, None]", response.aiter_bytes())
                async with aclosing(parts):
                    async for part in parts:
                        body += part
                        if len(body) > _MOST_BYTES:
                            raise NotNow("Discord's answer is too long", after=LATER)
        except (HTTPError, InvalidURL, TimeoutError) as error:
            raise NotNow(f"Discord does not answer: {type(error).__name__}", after=SOON) from None
        try:
            return response.status_code, loaded(bytes(body))
        except Malformed:
            return response.status_code, None


def _refused(status: int, body: Any) -> NotNow:
    told = body if isinstance(body, dict) else {}
    if status == 401:
        return NotNow("Discord does not know the bot's token", after=LATER)
    after = told.get("retry_after")
    wait = float(after) if isinstance(after, int | float) and 0 < after < LATER else SOON if after is None else LATER
    return NotNow(f"Discord answered {status}: {first_bytes(str(told.get('message', '')), 200)}", after=wait)
