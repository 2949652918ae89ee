"""Telegram for those whom it can't reach: asked for updates, over connections that we open.

Source: https://core.telegram.org/bots/api#getupdates (long polling; an offset confirms all updates before it; 409 while
a webhook is set, or somebody else asks).
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from httpx import AsyncBaseTransport, AsyncClient, HTTPError, Timeout

from agentbus.contracts.clock import Clock
from agentbus.contracts.text import first_bytes
from agentbus.workers.adapters.masking import mask_tokens
from agentbus.workers.adapters.parsing import listed, loaded_object
from agentbus.workers.adapters.port import Malformed, NotNow, Received, Source
from agentbus.workers.adapters.telegram.account import TelegramAccount
from agentbus.workers.adapters.telegram.inbound import TelegramInbound

HELD: Final = 25
"""Seconds for which Telegram holds a request while there is nothing new."""

_PATIENCE: Final = 10.0
"""Seconds for all else of a request."""
_MOST: Final = 50
"""Updates of one answer."""
_MOST_BYTES: Final = 16 * 1024 * 1024
_SOON: Final = 5.0
_LATER: Final = 30.0
_UNAUTHORIZED: Final = frozenset({401, 404})
_CONFLICT: Final = 409
_KINDS: Final = (
    *("message", "edited_message", "channel_post", "edited_channel_post", "callback_query", "message_reaction"),
    *("my_chat_member", "chat_member"),
)
"""The updates that are asked for."""


class TelegramSource(Source):
    """The updates of one bot."""

    def __init__(self, name: str, account: TelegramAccount, transport: AsyncBaseTransport | None = None) -> None:
        mask_tokens()
        self._inbound = TelegramInbound(name, account)
        self._url = f"{account.api}/bot{account.token}/getUpdates"
        self._client = AsyncClient(
            transport=transport, follow_redirects=False, timeout=Timeout(_PATIENCE, read=HELD + _PATIENCE)
        )
        self._offset = 0
        self._read_to = 0

    async def next(self, clock: Clock) -> Received:
        asked = {"offset": self._offset, "limit": _MOST, "timeout": HELD, "allowed_updates": list(_KINDS)}
        status, answer = await self._asked(asked)
        if status != 200:
            raise _refused(status, answer)
        found: list[Received] = []
        ignored = 0
        for update in listed(answer.get("result")):
            number = update.get("update_id") if isinstance(update, dict) else None
            if type(number) is not int:
                ignored += 1
                continue
            self._read_to = max(self._read_to, number + 1)
            found.append(self._inbound.read(update, clock.now()))
        messages = tuple(message for one in found for message in one.messages)
        return Received(messages=messages, ignored=ignored)

    def taken(self) -> None:
        self._offset = max(self._offset, self._read_to)

    async def close(self) -> None:
        await self._client.aclose()

    async def _asked(self, asked: Mapping[str, Any]) -> tuple[int, Mapping[str, Any]]:
        """Make a request; return the status and what the answer says. Raises NotNow."""
        body = bytearray()
        try:
            async with (
                asyncio.timeout(HELD + 2 * _PATIENCE),
                self._client.stream("POST", self._url, json=dict(asked)) as response,
            ):
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > _MOST_BYTES:
                        raise NotNow("the answer is too long", after=_LATER)
        except (HTTPError, TimeoutError) as error:
            # Not what it says: the address, and so the token, may be in that.
            raise NotNow(f"Telegram does not answer: {type(error).__name__}", after=_SOON) from None
        try:
            return response.status_code, loaded_object(bytes(body))
        except Malformed:
            return response.status_code or 500, {}


def _refused(status: int, answer: Mapping[str, Any]) -> NotNow:
    told = first_bytes(str(answer.get("description", "")), 200)
    parameters = answer.get("parameters")
    asked = parameters.get("retry_after") if isinstance(parameters, dict) else None
    if status in _UNAUTHORIZED:
        return NotNow("Telegram does not know the bot's token", after=_LATER)
    if status == _CONFLICT:
        return NotNow(f"{told or 'conflict'}: delete the webhook, or let nobody else ask", after=_LATER)
    after = float(asked) if isinstance(asked, int) and asked > 0 else _SOON
    return NotNow(f"Telegram answered {status}: {told}", after=min(after, _LATER))
