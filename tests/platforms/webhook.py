"""A sender of webhooks that takes replies, as https://www.standardwebhooks.com/ has both.

Its specification (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md) says how
it signs, when it posts again, and that whoever takes them drops repeats by `webhook-id`.
"""

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, ClassVar, Final

import httpx

from agentbus.contracts.address import Platform
from agentbus.workers.adapters.port import Guarantee, Request
from tests.platforms.model import API, FakePlatform, Said, Taken, said

WEBHOOK: Final = Platform("webhook")
WHSEC: Final = "whsec_" + base64.b64encode(b"c" * 24).decode()


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


@dataclass
class FakeWebhook(FakePlatform):
    """Somebody's server that drops repeats by the request's id."""

    answered_within: ClassVar[float] = 15.0

    platform: Platform = WEBHOOK
    guarantee: Guarantee = Guarantee.IDEMPOTENT

    def posting(self, said: Said, at: datetime, again: int = 0) -> Request:  # noqa: ARG002 - a repeat is the same
        told = {"chat": f"c{said.user}", "user": f"u{said.user}", "text": said.text}
        known = f"{said.user}x{said.number}"
        return signed(WHSEC, json.dumps(told | {"message_id": known}).encode(), told=f"w{known}", at=at)

    def account(self, api: str = API) -> dict[str, Any]:
        return {"secret": WHSEC, "reply_url": f"{api}/replies"}

    def message_in(self, request: httpx.Request) -> tuple[str, str, str] | None:
        at = datetime.fromtimestamp(int(request.headers["webhook-timestamp"]), UTC)
        expected = signed(WHSEC, request.content, told=request.headers["webhook-id"], at=at)
        assert request.headers["webhook-signature"] == expected.headers["webhook-signature"]
        body = said(request)
        if body["type"] != "reply":
            return None
        return body["chat"], body["text"], request.headers["webhook-id"]

    def accepted(self, taken: Taken) -> httpx.Response:
        return httpx.Response(202, json={"message_id": taken.message_id})

    def other(self, request: httpx.Request) -> httpx.Response:  # noqa: ARG002 - whatever it is
        return httpx.Response(204)
