"""LINE, the way out: push messages of the Messaging API.

Source: https://developers.line.biz/en/reference/messaging-api/#send-push-message (5,000 UTF-16 code units a text) and
https://developers.line.biz/en/docs/messaging-api/retrying-api-request/: a request with the same `X-Line-Retry-Key`, a
UUID, is carried out once within 24 hours, and refused with 409 once it was. Reply tokens take no key, and are good
for a minute: all is pushed, which counts towards the account's monthly messages.
"""

from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from agentbus.contracts.address import Address
from agentbus.contracts.messages import TextContent
from agentbus.workers.adapters.markdown import PLAIN, render
from agentbus.workers.adapters.port import Failed, Outbound, Outcome, Sent, Unknown
from agentbus.workers.adapters.posting import Answered, posted, refused, too_much

if TYPE_CHECKING:
    from httpx import AsyncClient

_SPENT: Final = "monthly limit"
_LOADING: Final = 20
"""Seconds for which the sign is shown that an answer is being written."""


class LineOutbound(Outbound):
    """Sends by one official account."""

    def __init__(self, api: str, token: str, client: "AsyncClient") -> None:
        self._url = api.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"}
        self._client = client

    async def send(self, content: TextContent, address: Address, key: str, *, timeout: float = 10.0) -> Outcome:
        """Send a text without any signs: LINE has none."""
        asked: dict[str, Any] = {
            "to": address.chat,
            "messages": [{"type": "text", "text": render(content.text, PLAIN)}],
        }
        headers = self._headers | {"X-Line-Retry-Key": retry_key_of(key)}
        url = f"{self._url}/v2/bot/message/push"
        return _outcome(await posted(self._client, url, json=asked, headers=headers, timeout=timeout), key)

    async def typing(self, address: Address, *, timeout: float = 5.0) -> None:
        """Show it to the one person of a chat; LINE has nothing for groups."""
        asked = {"chatId": address.chat, "loadingSeconds": _LOADING}
        await posted(
            self._client,
            f"{self._url}/v2/bot/chat/loading/start",
            json=asked,
            headers=self._headers,
            timeout=timeout,
        )


def retry_key_of(key: str) -> str:
    """Return the UUID that stands for a key."""
    return str(UUID(bytes=blake2b(key.encode(), digest_size=16).digest(), version=4))


def _outcome(answer: Answered | Failed | Unknown, key: str) -> Outcome:
    if not isinstance(answer, Answered):
        return answer
    if answer.is_well or answer.status == 409:  # it was carried out before
        return Sent(answer.text("sentMessages", 0, "id") or retry_key_of(key))
    told = answer.text("message")
    if answer.status == 429:
        return refused(answer, told, permanent=True) if _SPENT in told.lower() else too_much(answer, account=True)
    detail = answer.text("details", 0, "message")
    return refused(answer, f"{told}: {detail}" if detail else told)
