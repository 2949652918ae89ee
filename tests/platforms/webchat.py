"""A site whose server signs its visitors' tokens, as RFC 7519 has it; made by hand, as it would be in any language."""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import httpx

from agentbus.contracts.address import Platform
from agentbus.workers.adapters.port import Guarantee, Request
from tests.platforms.model import API, SECRET, FakePlatform, Said, Taken

WEBCHAT: Final = Platform("webchat")
AUDIENCES: Final = ["webchat/conforming", "webchat/bot", "webchat/shop"]
"""The accounts that the site's tokens are for."""


def encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def token(secret: str, claims: Mapping[str, Any], *, header: Mapping[str, Any] | None = None) -> str:
    """Return a token that says this."""
    head = {"alg": "HS256", "typ": "JWT"} if header is None else header
    signed = f"{encoded(json.dumps(head).encode())}.{encoded(json.dumps(claims).encode())}"
    return f"{signed}.{encoded(hmac.digest(secret.encode(), signed.encode(), hashlib.sha256))}"


def claims(at: datetime, visitor: str = "ann", **more: Any) -> dict[str, Any]:
    """Return what a visitor's token says, that holds for an hour."""
    return {"aud": AUDIENCES, "sub": visitor, "exp": int(at.timestamp()) + 3600, **more}


def posted(secret: str, body: bytes, at: datetime, visitor: str = "ann", **more: Any) -> Request:
    """Return a message's request, at the moment at which its token was made."""
    bearer = f"Bearer {token(secret, claims(at, visitor, **more))}"
    return Request(body=body, headers={"authorization": bearer}, received_at=at)


@dataclass
class FakeWindows(FakePlatform):
    """Windows of a site's visitors, that post. Nothing is sent to them: they read the log."""

    platform: Platform = WEBCHAT
    guarantee: Guarantee = Guarantee.IDEMPOTENT

    def posting(self, said: Said, at: datetime, again: int = 0) -> Request:  # noqa: ARG002 - a repeat is the same
        body = json.dumps({"id": f"m{said.number}", "text": said.text}).encode()
        return posted(SECRET, body, at, f"u{said.user}")

    def account(self, api: str = API) -> dict[str, Any]:  # noqa: ARG002 - it has none
        return {"secret": SECRET}

    def message_in(self, request: httpx.Request) -> tuple[str, str, str] | None:
        raise AssertionError(f"nothing is sent to windows: {request.url}")

    def accepted(self, taken: Taken) -> httpx.Response:
        raise AssertionError(f"nothing is sent to windows: {taken}")
