"""A generic webhook, the way out: replies are posted as JSON, signed as in Standard Webhooks.

Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md. The id of a request
(`webhook-id`) is the same whenever a message is posted again: whoever receives it drops repeats by it, as that
specification asks of them. What they answer in the field `message_id`, if they do, is the message's id.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from agentbus.contracts.address import Address
from agentbus.contracts.messages import TextContent
from agentbus.workers.adapters.port import Failed, Outbound, Outcome, Sent, Unknown
from agentbus.workers.adapters.posting import Answered, posted, refused, too_much

if TYPE_CHECKING:
    from httpx import AsyncClient


class WebhookOutbound(Outbound):
    """Posts to one address."""

    def __init__(
        self,
        url: str,
        key: bytes,
        client: "AsyncClient",
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._url = url
        self._key = key
        self._client = client
        self._now = now

    async def send(self, content: TextContent, address: Address, key: str, *, timeout: float = 10.0) -> Outcome:
        """Post a text as it was written, in Markdown."""
        return await self._post(key, _body("reply", key, content, address), key, timeout)

    async def edit(self, message_id: str, content: TextContent, address: Address, *, timeout: float = 10.0) -> Outcome:
        said = hashlib.sha256(content.text.encode()).hexdigest()[:32]
        body = _body("edit", message_id, content, address)
        return await self._post(f"{message_id}-{said}", body, message_id, timeout)

    async def delete(self, message_id: str, address: Address, *, timeout: float = 10.0) -> Outcome:
        body = _body("delete", message_id, TextContent(), address)
        return await self._post(f"{message_id}-deleted", body, message_id, timeout)

    async def react(self, message_id: str, reaction: str, address: Address, *, timeout: float = 10.0) -> Outcome:
        body = _body("reaction", message_id, TextContent(text=reaction), address)
        said = hashlib.sha256(reaction.encode()).hexdigest()[:32]
        return await self._post(f"{message_id}-r-{said}", body, message_id, timeout)

    async def _post(self, request_id: str, body: bytes, message_id: str, timeout: float) -> Outcome:
        headers = signed(body, request_id, self._now(), self._key)
        answer = await posted(self._client, self._url, content=body, headers=headers, timeout=timeout)
        return _outcome(answer, message_id)


def signed(body: bytes, request_id: str, at: datetime, key: bytes) -> dict[str, str]:
    """Return the headers of a request that is signed as in Standard Webhooks."""
    stamp = str(int(at.timestamp()))
    digest = hmac.new(key, b".".join((request_id.encode(), stamp.encode(), body)), hashlib.sha256).digest()
    return {
        "content-type": "application/json",
        "webhook-id": request_id,
        "webhook-timestamp": stamp,
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def _body(kind: str, message_id: str, content: TextContent, address: Address) -> bytes:
    said: dict[str, Any] = {
        "type": kind,
        "message_id": message_id,
        "account": address.account,
        "chat": address.chat,
        "thread": address.thread,
        "user": address.user,
        "text": content.text,
        "reply_to": content.reply_to,
        "attachments": [one.model_dump(mode="json", exclude_none=True) for one in content.attachments],
    }
    return json.dumps({name: value for name, value in said.items() if value}, ensure_ascii=False).encode()


def _outcome(answer: Answered | Failed | Unknown, message_id: str) -> Outcome:
    if not isinstance(answer, Answered):
        return answer
    if answer.is_well:
        return Sent(answer.text("message_id")[:255] or message_id)
    return too_much(answer) if answer.status == 429 else refused(answer, f"status {answer.status}")
