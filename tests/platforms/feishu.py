"""Feishu's side: encrypted and signed events, and messages by the IM API.

Sources: https://open.feishu.cn/document ("Receive events": encryption, signature, retries after 15 s, 5 min, 1 h and
6 h), https://open.feishu.cn/document/server-docs/im-v1/message/create (`uuid`: once within an hour),
.../api-call-guide/frequency-control (99991400, `x-ogw-ratelimit-reset`) and
.../authentication-management/access-token/tenant_access_token_internal (the same token while it is good).
"""

import base64
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

import httpx
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.padding import PKCS7

from agentbus.contracts.address import Platform
from agentbus.workers.adapters.port import Guarantee, Request
from tests.platforms.model import API, SECRET, FakePlatform, Said, Taken, said
from tests.platforms.model import TOKEN as APP_SECRET

TOKEN = "a-verification-token"  # noqa: S105 - nobody's
DATE = "1764244800000"


def encrypted(key: str, plain: bytes, vector: bytes = b"0123456789abcdef") -> bytes:
    """Return the body that brings something encrypted."""
    padder = PKCS7(128).padder()
    padded = padder.update(plain) + padder.finalize()
    sealer = Cipher(AES(hashlib.sha256(key.encode()).digest()), CBC(vector)).encryptor()
    sealed = vector + sealer.update(padded) + sealer.finalize()
    return json.dumps({"encrypt": base64.b64encode(sealed).decode()}).encode()


def signed(key: str, body: bytes, at: datetime, nonce: str = "a-nonce") -> Request:
    """Return a request that is signed with the Encrypt Key."""
    seconds = str(int(at.timestamp()))
    digest = hashlib.sha256(f"{seconds}{nonce}{key}".encode() + body).hexdigest()
    headers = {
        "x-lark-request-timestamp": seconds,
        "x-lark-request-nonce": nonce,
        "x-lark-signature": digest,
    }
    return Request(body=body, headers=headers, received_at=at)


def posted(key: str, body: Any, at: datetime) -> Request:
    """Return the request that brings JSON, encrypted and signed."""
    return signed(key, encrypted(key, json.dumps(body).encode()), at)


def event(kind: str, known: str = "ev1", **parts: Any) -> dict[str, Any]:
    """Return an event of the second schema."""
    header = {"event_id": known, "token": TOKEN, "create_time": DATE, "event_type": kind, "app_id": "cli_1"}
    return {"schema": "2.0", "header": header, "event": parts}


def message(kind: str, content: Any, **parts: Any) -> dict[str, Any]:
    """Return the event that a message of Ann's came."""
    told = content if isinstance(content, str) else json.dumps(content)
    return event(
        "im.message.receive_v1",
        sender={"sender_id": {"open_id": "ou_ann", "union_id": "on_1"}, "sender_type": "user"},
        message={
            "message_id": "om_1",
            "chat_id": "oc_1",
            "chat_type": "group",
            "create_time": DATE,
            "message_type": kind,
            "content": told,
            **parts,
        },
    )


@dataclass
class FakeFeishu(FakePlatform):
    """Feishu: a uuid, good for an hour; tokens that end."""

    answered_within: ClassVar[float] = 3.0

    platform: Platform = Platform.FEISHU
    guarantee: Guarantee = Guarantee.IDEMPOTENT
    tokens: Iterator[int] = field(default_factory=lambda: iter(range(1, 100)))
    token: str = ""

    def posting(self, said: Said, at: datetime, again: int = 0) -> Request:  # noqa: ARG002 - a repeat is the same
        where = {"message_id": f"om_{said.user}_{said.number}", "chat_id": f"oc_{said.user}"}
        told = message("text", {"text": said.text}, **where)
        told["header"]["event_id"] = f"ev{said.user}x{said.number}"
        told["event"]["sender"]["sender_id"]["open_id"] = f"ou_{said.user}"
        return posted(SECRET, told, at)

    def account(self, api: str = API) -> dict[str, Any]:
        both = {"encrypt_key": SECRET, "verification_token": TOKEN}
        return {**both, "app_id": "cli_1", "app_secret": APP_SECRET, "api": api}

    def message_in(self, request: httpx.Request) -> tuple[str, str, str] | None:
        if request.url.path.endswith("/internal") or request.headers["authorization"] != f"Bearer {self.token}":
            return None
        body = said(request) if request.content else {}
        if "uuid" not in body:
            return None
        assert len(body["uuid"]) <= 50
        text = json.loads(body["content"])["text"]
        return body.get("receive_id") or request.url.path.split("/")[-2], text, body["uuid"]

    def accepted(self, taken: Taken) -> httpx.Response:
        return httpx.Response(200, json={"code": 0, "msg": "success", "data": {"message_id": taken.message_id}})

    def busy(self) -> httpx.Response:
        headers = {"x-ogw-ratelimit-reset": f"{self.busy_for:g}"}
        return httpx.Response(400, headers=headers, json={"code": 99991400, "msg": "request trigger frequency limit"})

    def refusal(self) -> httpx.Response:
        return httpx.Response(400, json={"code": 230002, "msg": "The bot can not be outside the group."})

    def other(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/internal"):
            assert said(request) == {"app_id": "cli_1", "app_secret": APP_SECRET}
            self.token = self.token or f"t-{next(self.tokens)}"
            return httpx.Response(200, json={"code": 0, "tenant_access_token": self.token, "expire": 7200})
        if request.headers["authorization"] != f"Bearer {self.token}":
            return httpx.Response(400, json={"code": 99991663, "msg": "Invalid access token for authorization."})
        return httpx.Response(200, json={"code": 0, "msg": "success", "data": {}})
