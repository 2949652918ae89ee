"""Slack's side: its Events API and its Web API.

Sources: https://docs.slack.dev/authentication/verifying-requests-from-slack, https://docs.slack.dev/apis/events-api
(retries: `x-slack-retry-num`, `x-slack-retry-reason`), https://docs.slack.dev/apis/web-api/rate-limits (429 with
Retry-After), https://docs.slack.dev/messaging/message-metadata and
https://docs.slack.dev/reference/methods/conversations.history (`include_all_metadata`, `limit`, cursors). It takes no
key, but what the metadata say is in the channel's history.
"""

import hashlib
import hmac
import json
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlencode

import httpx

from agentbus.contracts.address import Platform
from agentbus.workers.adapters.port import Guarantee, Request
from tests.platforms.model import API, SECRET, TOKEN, FakePlatform, Said, Taken, said

TEAM = "T0001"
APP = "A0001"


def signed(secret: str, body: bytes, at: datetime, content_type: str = "application/json") -> Request:
    """Return a request that is signed with the app's secret, and comes at the moment it was signed."""
    seconds = str(int(at.timestamp()))
    digest = hmac.digest(secret.encode(), f"v0:{seconds}:".encode() + body, hashlib.sha256).hex()
    headers = {
        "content-type": content_type,
        "x-slack-request-timestamp": seconds,
        "x-slack-signature": f"v0={digest}",
    }
    return Request(body=body, headers=headers, received_at=at)


def posted(secret: str, body: Any, at: datetime) -> Request:
    """Return the request that brings JSON."""
    return signed(secret, json.dumps(body).encode(), at)


def form(secret: str, fields: dict[str, str], at: datetime) -> Request:
    """Return the request that brings a form."""
    return signed(secret, urlencode(fields).encode(), at, "application/x-www-form-urlencoded")


def callback(event: dict[str, Any], event_id: str = "Ev01", team: str = TEAM) -> dict[str, Any]:
    """Return the wrapping that an event comes in."""
    return {
        "token": "a-deprecated-token",
        "team_id": team,
        "api_app_id": APP,
        "event": event,
        "type": "event_callback",
        "event_id": event_id,
        "event_time": 1_764_244_800,
    }


def message(ts: str = "1764244800.000100", **parts: Any) -> dict[str, Any]:
    """Return a message of somebody in a channel."""
    return {"type": "message", "channel": "C1", "user": "U1", "text": "hello", "ts": ts, "event_ts": ts, **parts}


@dataclass
class FakeSlack(FakePlatform):
    """Slack: no key, but what the metadata say is in the channel's history."""

    answered_within: ClassVar[float] = 3.0

    platform: Platform = Platform.SLACK
    guarantee: Guarantee = Guarantee.RECONCILED
    page: int = 200
    """The most messages of a page of a channel's history."""

    def posting(self, said: Said, at: datetime, again: int = 0) -> Request:
        ts = f"{1_764_244_800 + said.user}.{said.number:06}"
        told = message(ts, channel=f"D{said.user}", user=f"U{said.user}", text=said.text)
        request = posted(SECRET, callback(told, event_id=f"Ev{said.user}x{said.number}"), at)
        retried = {"x-slack-retry-num": str(again), "x-slack-retry-reason": "http_timeout"} if again else {}
        return replace(request, headers={**request.headers, **retried})

    def account(self, api: str = API) -> dict[str, Any]:
        return {"signing_secret": SECRET, "team": TEAM, "token": TOKEN, "api": api}

    def message_in(self, request: httpx.Request) -> tuple[str, str, str] | None:
        assert request.headers["authorization"] == f"Bearer {TOKEN}"
        if request.url.path != "/chat.postMessage":
            return None
        body = said(request)
        return body["channel"], body["text"], body["metadata"]["event_payload"]["key"]

    def accepted(self, taken: Taken) -> httpx.Response:
        return httpx.Response(200, json={"ok": True, "ts": taken.message_id, "channel": taken.chat})

    def busy(self) -> httpx.Response:
        headers = {"retry-after": f"{self.busy_for:g}"}
        return httpx.Response(429, headers=headers, json={"ok": False, "error": "ratelimited"})

    def refusal(self) -> httpx.Response:
        return httpx.Response(200, json={"ok": False, "error": "is_archived"})

    def other(self, request: httpx.Request) -> httpx.Response:
        asked = parse_qs(request.url.query.decode())
        assert asked["include_all_metadata"] == ["true"]
        first = int(asked.get("cursor", ["0"])[0])
        page = min(self.page, int(asked["limit"][0]))
        there = [one for one in reversed(self.taken) if one.chat == asked["channel"][0]]
        messages = [
            {
                "ts": one.message_id,
                "text": one.text,
                "metadata": {"event_type": "agentbus_reply", "event_payload": {"key": one.key}},
            }
            for one in there[first : first + page]
        ]
        more = {"next_cursor": str(first + page)} if first + page < len(there) else {}
        return httpx.Response(200, json={"ok": True, "messages": messages, "response_metadata": more})
