"""LINE's side: webhooks as https://developers.line.biz/en/reference/messaging-api/#webhook-event-objects has them."""

import base64
import hashlib
import hmac
import json
from datetime import datetime
from typing import Any

from agentbus.workers.adapters.port import Request

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
