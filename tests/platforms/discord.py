"""Discord's side: interactions, and messages by its HTTP API.

Sources: https://docs.discord.com/developers/interactions/overview (signatures; no retries: who gave the command is told
that it failed), https://discord.com/developers/docs/resources/message#create-message (`nonce`, `enforce_nonce`,
`allowed_mentions`) and https://discord.com/developers/docs/topics/rate-limits (429 with `retry_after` and `global`).
"""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agentbus.contracts.address import Platform
from agentbus.workers.adapters.port import Guarantee, Request
from tests.platforms.model import API, TOKEN, FakePlatform, Said, Taken, said

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


@dataclass
class FakeDiscord(FakePlatform):
    """Discord: a nonce that is enforced for some minutes."""

    answered_within: ClassVar[float] = 3.0

    platform: Platform = Platform.DISCORD
    guarantee: Guarantee = Guarantee.IDEMPOTENT

    def posting(self, said: Said, at: datetime, again: int = 0) -> Request:  # noqa: ARG002 - there is none
        data = {"name": "say", "options": [{"name": "text", "value": said.text}]}
        known = str(int(ID) + 10_000 * said.user + said.number)
        by = {"user": {"id": str(said.user), "username": "u"}}
        return posted(interaction(2, id=known, channel_id=f"c{said.user}", member=by, data=data), at)

    def account(self, api: str = API) -> dict[str, Any]:
        return {"public_key": PUBLIC, "token": TOKEN, "api": api}

    def message_in(self, request: httpx.Request) -> tuple[str, str, str] | None:
        assert request.headers["authorization"] == f"Bot {TOKEN}"
        _, chat, what = request.url.path.removeprefix("/channels").split("/", 2)
        if (request.method, what) != ("POST", "messages"):
            return None
        body = said(request)
        assert body["enforce_nonce"] is True
        assert len(body["nonce"]) <= 25
        assert body["allowed_mentions"] == {"parse": []}
        return chat, body["content"], body["nonce"]

    def accepted(self, taken: Taken) -> httpx.Response:
        return httpx.Response(200, json={"id": taken.message_id, "nonce": taken.key})

    def busy(self) -> httpx.Response:
        body = {"message": "You are being rate limited.", "retry_after": self.busy_for, "global": True}
        return httpx.Response(429, json=body)

    def other(self, request: httpx.Request) -> httpx.Response:  # noqa: ARG002 - whatever it is
        return httpx.Response(204)
