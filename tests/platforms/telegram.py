"""Telegram's side: updates as https://core.telegram.org/bots/api#update has them, posted to a webhook."""

import json
from datetime import datetime
from typing import Any

from agentbus.workers.adapters.port import Request

ANN: dict[str, Any] = {"id": 7, "is_bot": False, "first_name": "Ann", "last_name": "Lee", "username": "annlee"}
BOB: dict[str, Any] = {"id": 8, "is_bot": False, "first_name": "Bob"}
PRIVATE: dict[str, Any] = {"id": 7, "type": "private", "first_name": "Ann"}
GROUP: dict[str, Any] = {"id": -1001, "type": "supergroup", "title": "Friends"}
DATE = 1_764_244_800


def update(number: int, **parts: Any) -> dict[str, Any]:
    """Return an update."""
    return {"update_id": number, **parts}


def message(number: int = 42, **parts: Any) -> dict[str, Any]:
    """Return a message of Ann's to the bot, or of another chat."""
    return {"message_id": number, "from": ANN, "chat": PRIVATE, "date": DATE, **parts}


def posted(secret: str, body: Any, at: datetime) -> Request:
    """Return the request that brings an update: the secret that setWebhook was given is in a header."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Request(body=raw, headers={"x-telegram-bot-api-secret-token": secret}, received_at=at)
