"""Feishu's side: encrypted and signed as its documentation says ("Receive events" at https://open.feishu.cn/document)."""

import base64
import hashlib
import json
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.padding import PKCS7

from agentbus.workers.adapters.port import Request

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
