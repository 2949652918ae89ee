"""WhatsApp's side: webhooks, and messages by the Cloud API.

Sources: https://developers.facebook.com/docs/whatsapp/cloud-api/webhooks (also of statuses, which say
`biz_opaque_callback_data` back), .../guides/set-up-webhooks (retries for up to 7 days), .../reference/messages and
.../support/error-codes (131056, 131047). It takes no key, and can't be asked what it took.
"""

import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

import httpx

from agentbus.contracts.address import Platform
from agentbus.workers.adapters.port import Guarantee, Request
from tests.platforms.model import API, SECRET, TOKEN, FakePlatform, Said, Taken, said

NUMBER = "106540352242922"
ANN = "16505551234"
DATE = "1764244800"


def signed(secret: str, body: bytes, at: datetime) -> Request:
    """Return a request that is signed with the app's secret."""
    digest = hmac.digest(secret.encode(), body, hashlib.sha256).hex()
    return Request(body=body, headers={"x-hub-signature-256": f"sha256={digest}"}, received_at=at)


def asked(token: str, challenge: str, at: datetime, mode: str = "subscribe") -> Request:
    """Return the request by which Meta asks whether we are there."""
    query = {"hub.mode": mode, "hub.verify_token": token, "hub.challenge": challenge}
    return Request(body=b"", query=query, method="GET", received_at=at)


def posted(secret: str, body: Any, at: datetime) -> Request:
    """Return the request that brings JSON."""
    return signed(secret, json.dumps(body).encode(), at)


def webhook(*, number: str = NUMBER, field: str = "messages", **parts: Any) -> dict[str, Any]:
    """Return the wrapping of messages and statuses."""
    value = {
        "messaging_product": "whatsapp",
        "metadata": {"display_phone_number": "15550783881", "phone_number_id": number},
        "contacts": [{"profile": {"name": "Ann Lee"}, "wa_id": ANN}],
        **parts,
    }
    return {
        "object": "whatsapp_business_account",
        "entry": [{"id": "1", "changes": [{"value": value, "field": field}]}],
    }


def message(kind: str, known: str = "wamid.1", **parts: Any) -> dict[str, Any]:
    """Return a message of Ann's."""
    return {"from": ANN, "id": known, "timestamp": DATE, "type": kind, **parts}


@dataclass
class FakeWhatsApp(FakePlatform):
    """WhatsApp: no key; what became of a message is told by a webhook."""

    tells: ClassVar[Sequence[str]] = ("sent", "delivered")

    platform: Platform = Platform.WHATSAPP
    guarantee: Guarantee = Guarantee.RECONCILED

    def posting(self, said: Said, at: datetime, again: int = 0) -> Request:  # noqa: ARG002 - a repeat is the same
        told = {
            **message("text", f"wamid.{said.user}.{said.number}", text={"body": said.text}),
            "from": f"49{said.user}",
        }
        return posted(SECRET, webhook(messages=[told]), at)

    def telling(self, word: str, taken: Taken, at: datetime) -> Request:
        about = {
            "id": f"wamid.{taken.message_id}",
            "status": word,
            "timestamp": str(int(at.timestamp())),
            "recipient_id": taken.chat,
            "biz_opaque_callback_data": taken.key,
        }
        return posted(SECRET, webhook(statuses=[about]), at)

    def account(self, api: str = API) -> dict[str, Any]:
        return {
            "app_secret": SECRET,
            "verify_token": SECRET,
            "phone_number_id": NUMBER,
            "token": TOKEN,
            "api": f"{api}/v23.0",
        }

    def message_in(self, request: httpx.Request) -> tuple[str, str, str] | None:
        assert request.url.path == f"/v23.0/{NUMBER}/messages"
        body = said(request)
        assert body["messaging_product"] == "whatsapp"
        if body["type"] != "text":
            return None
        return body["to"], body["text"]["body"], body["biz_opaque_callback_data"]

    def accepted(self, taken: Taken) -> httpx.Response:
        return httpx.Response(200, json={"messages": [{"id": f"wamid.{taken.message_id}"}]})

    def busy(self) -> httpx.Response:
        return httpx.Response(400, json={"error": {"code": 131056, "message": "(#131056) Pair rate limit hit"}})

    def refusal(self) -> httpx.Response:
        details = "Message failed to send because more than 24 hours have passed"
        error = {"code": 131047, "message": "Re-engagement message", "error_data": {"details": details}}
        return httpx.Response(400, json={"error": error})

    def other(self, request: httpx.Request) -> httpx.Response:  # noqa: ARG002 - whatever it is
        return httpx.Response(200, json={"messages": [{"id": "wamid.0"}]})
