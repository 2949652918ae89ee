"""WhatsApp, the way out: the Cloud API's messages.

Source: https://developers.facebook.com/docs/whatsapp/cloud-api/reference/messages (4,096 characters),
.../guides/send-messages and .../support/error-codes: 130429 and 80007 are about the number, 131056 about one person,
to whom a message goes every 6 seconds in the long run. There is no idempotency key. What is given as
`biz_opaque_callback_data` comes back with each status of the message, by a webhook: so the platform tells, in the end,
what became of a send whose answer was lost; it can't be asked.
"""

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from agentbus.contracts.address import Address
from agentbus.contracts.messages import TextContent
from agentbus.workers.adapters.markdown import WHATSAPP, render
from agentbus.workers.adapters.port import Failed, Outbound, Outcome, Sent, Unknown
from agentbus.workers.adapters.posting import Answered, posted, refused, too_much

if TYPE_CHECKING:
    from httpx import AsyncClient

PAIR_PAUSE: Final = 6.0
"""Seconds between two messages to one person."""

_ACCOUNT_LIMITS: Final = frozenset({"4", "80007", "130429", "131048"})
_PAIR_LIMIT: Final = "131056"
_FAILED_ITSELF: Final = frozenset({"1", "2", "131000", "131016"})
_MENDABLE: Final = frozenset({"0", "3", "10", "190", "200", "131005", "131031", "131042"})
"""About the token, its permissions, or the business's account: they can be mended."""


class WhatsAppOutbound(Outbound):
    """Sends by one phone number."""

    def __init__(self, api: str, phone_number_id: str, token: str, client: "AsyncClient") -> None:
        self._api = api.rstrip("/")
        self._number = phone_number_id
        self._headers = {"Authorization": f"Bearer {token}"}
        self._client = client

    async def send(self, content: TextContent, address: Address, key: str, *, timeout: float = 10.0) -> Outcome:
        asked: dict[str, Any] = {
            "messaging_product": "whatsapp",
            "recipient_type": "individual",
            "to": _person(address),
            "type": "text",
            "text": {"body": render(content.text, WHATSAPP)},
            "biz_opaque_callback_data": key,
        }
        if content.reply_to is not None:
            asked["context"] = {"message_id": content.reply_to}
        return _outcome(await self._call(address, asked, timeout))

    async def react(self, message_id: str, reaction: str, address: Address, *, timeout: float = 10.0) -> Outcome:
        asked = {
            "messaging_product": "whatsapp",
            "recipient_type": "individual",
            "to": _person(address),
            "type": "reaction",
            "reaction": {"message_id": message_id, "emoji": reaction},
        }
        return _outcome(await self._call(address, asked, timeout))

    async def _call(self, address: Address, asked: object, timeout: float) -> Answered | Failed | Unknown:
        number = address.chat.rpartition("/")[0] or self._number
        url = f"{self._api}/{quote(number, safe='')}/messages"
        return await posted(self._client, url, json=asked, headers=self._headers, timeout=timeout)


def _person(address: Address) -> str:
    """Return who it goes to: with another number of the app, a chat is named with that number's id before it."""
    return address.chat.rpartition("/")[2]


def _outcome(answer: Answered | Failed | Unknown) -> Outcome:
    if not isinstance(answer, Answered):
        return answer
    if answer.is_well:
        message_id = answer.text("messages", 0, "id")
        return Sent(message_id) if message_id else Unknown("the answer names no message")
    code = answer.text("error", "code")
    if code == _PAIR_LIMIT:
        return too_much(answer, answer.headers.get("retry-after", PAIR_PAUSE))
    if code in _ACCOUNT_LIMITS or answer.status == 429:
        return too_much(answer, account=True)
    reason = answer.text("error", "error_data", "details") or answer.text("error", "message")
    if code in _FAILED_ITSELF:
        return Unknown(f"the platform failed: {reason or code}")
    return refused(answer, f"{reason} ({code})" if code else reason, permanent=code not in _MENDABLE)
