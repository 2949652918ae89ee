"""Discord's side: interactions, signed as https://docs.discord.com/developers/interactions/overview says."""

import json
from datetime import datetime
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agentbus.workers.adapters.port import Request

KEY = Ed25519PrivateKey.from_private_bytes(b"d" * 32)
PUBLIC = KEY.public_key().public_bytes_raw().hex()
ID = "1443600000000000000"
"""Made on 27 November 2025."""


def signed(body: bytes, at: datetime, key: Ed25519PrivateKey = KEY) -> Request:
    """Return a request that is signed with the application's private key."""
    seconds = str(int(at.timestamp()))
    headers = {
        "x-signature-ed25519": key.sign(seconds.encode() + body).hex(),
        "x-signature-timestamp": seconds,
    }
    return Request(body=body, headers=headers, received_at=at)


def posted(body: Any, at: datetime) -> Request:
    """Return the request that brings JSON."""
    return signed(json.dumps(body).encode(), at)


def interaction(kind: int, **parts: Any) -> dict[str, Any]:
    """Return an interaction of Ann's in a channel of a server."""
    return {
        "id": ID,
        "application_id": "1",
        "token": "an-interaction-token",
        "version": 1,
        "type": kind,
        "guild_id": "9",
        "channel_id": "8",
        "member": {"user": {"id": "7", "username": "ann", "global_name": "Ann"}, "nick": "Annie"},
        **parts,
    }
