"""WhatsApp's side: webhooks as https://developers.facebook.com/docs/whatsapp/cloud-api/webhooks shows them."""

import hashlib
import hmac
import json
from datetime import datetime
from typing import Any

from agentbus.workers.adapters.port import Request

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
