"""A sender of webhooks, as https://www.standardwebhooks.com/ has it."""

import base64
import hashlib
import hmac
from datetime import datetime

from agentbus.workers.adapters.port import Request


def signed(secret: str, body: bytes, *, told: str, at: datetime) -> Request:
    """Return a request that is signed with `secret`, and comes at the moment it was signed."""
    seconds = str(int(at.timestamp()))
    content = b".".join((told.encode(), seconds.encode(), body))
    digest = hmac.digest(base64.b64decode(secret.split("_", 1)[1]), content, hashlib.sha256)
    headers = {
        "webhook-id": told,
        "webhook-timestamp": seconds,
        "webhook-signature": "v1," + base64.b64encode(digest).decode(),
    }
    return Request(body=body, headers=headers, received_at=at)
