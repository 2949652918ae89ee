"""LINE's side: webhooks, and push messages.

Sources: https://developers.line.biz/en/reference/messaging-api/#webhook-event-objects (`webhookEventId`,
`deliveryContext.isRedelivery`), .../docs/messaging-api/receiving-messages/#webhook-redelivery,
.../docs/messaging-api/check-webhook-error-statistics/ (an answer within 2 s),
.../reference/messaging-api/#send-push-message and .../docs/messaging-api/retrying-api-request/ (`X-Line-Retry-Key`:
409 for what was accepted).
"""

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

import httpx

from agentbus.contracts.address import Platform
from agentbus.workers.adapters.port import Guarantee, Request
from tests.platforms.model import API, SECRET, TOKEN, FakePlatform, Said, Taken, said

BOT = "Ubot"
DATE = 1_764_244_800_000


def signed(secret: str, body: bytes, at: datetime) -> Request:
    """Return a request that is signed with the channel's secret."""
    digest = base64.b64encode(hmac.digest(secret.encode(), body, hashlib.sha256)).decode()
    return Request(body=body, headers={"x-line-signature": digest}, received_at=at)


def posted(secret: str, events: Any, at: datetime) -> Request:
    """Return the request that brings events."""
    return signed(secret, json.dumps({"destination": BOT, "events": events}).encode(), at)


def event(kind: str, known: str = "01HEVENT", *, again: bool = False, **parts: Any) -> dict[str, Any]:
    """Return an event of Ann's in the chat with the bot; or of another source."""
    return {
        "type": kind,
        "mode": "active",
        "timestamp": DATE,
        "source": {"type": "user", "userId": "Uann"},
        "webhookEventId": known,
        "deliveryContext": {"isRedelivery": again},
        "replyToken": "a-reply-token",
        **parts,
    }


@dataclass
class FakeLine(FakePlatform):
    """LINE: a retry key, good for a day."""

    answered_within: ClassVar[float] = 2.0

    platform: Platform = Platform.LINE
    guarantee: Guarantee = Guarantee.IDEMPOTENT

    def posting(self, said: Said, at: datetime, again: int = 0) -> Request:
        told = {"id": f"{said.user}{said.number:05}", "type": "text", "text": said.text}
        source = {"type": "user", "userId": f"U{said.user}"}
        known = f"ev{said.user}x{said.number}"
        return posted(SECRET, [event("message", known, again=again > 0, message=told, source=source)], at)

    def account(self, api: str = API) -> dict[str, Any]:
        return {"channel_secret": SECRET, "token": TOKEN, "api": api}

    def message_in(self, request: httpx.Request) -> tuple[str, str, str] | None:
        assert request.headers["authorization"] == f"Bearer {TOKEN}"
        if request.url.path != "/v2/bot/message/push":
            return None
        body = said(request)
        return body["to"], body["messages"][0]["text"], request.headers["x-line-retry-key"]

    def accepted(self, taken: Taken) -> httpx.Response:
        return httpx.Response(200, json={"sentMessages": [{"id": taken.message_id}]})

    def repeated(self, taken: Taken) -> httpx.Response:
        body = {"message": "The retry key is already accepted", "sentMessages": [{"id": taken.message_id}]}
        return httpx.Response(409, json=body, headers={"x-line-accepted-request-id": "1"})

    def other(self, request: httpx.Request) -> httpx.Response:  # noqa: ARG002 - whatever it is
        return httpx.Response(202, json={})
