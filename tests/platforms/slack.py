"""Slack's side: signed as https://docs.slack.dev/authentication/verifying-requests-from-slack says."""

import hashlib
import hmac
import json
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from agentbus.workers.adapters.port import Request

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
