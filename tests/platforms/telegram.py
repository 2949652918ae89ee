"""Telegram's side: updates as https://core.telegram.org/bots/api#update has them, posted to a webhook."""

import json
from datetime import datetime
from typing import Any

import httpx

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


class BotApi:
    """The other way: `getUpdates` of the Bot API, over httpx without a network.

    Source: https://core.telegram.org/bots/api#getupdates. An offset confirms what came before it; two who ask are told
    of a conflict, as are those who ask while a webhook is set. It does not hold a request for which there is nothing.
    """

    def __init__(self, token: str) -> None:
        self._token = token
        self.updates: list[dict[str, Any]] = []
        self.asked: list[dict[str, Any]] = []
        self.answers: list[httpx.Response | Exception] = []
        """What is answered first, in place of updates."""

    @property
    def transport(self) -> httpx.MockTransport:
        """Return what asks here in place of the network."""
        return httpx.MockTransport(self._answer)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        assert str(request.url) == f"https://api.telegram.org/bot{self._token}/getUpdates"
        asked = json.loads(request.content)
        self.asked.append(asked)
        if self.answers:
            answer = self.answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer
        self.updates = [one for one in self.updates if one["update_id"] >= asked["offset"]]
        return httpx.Response(200, json={"ok": True, "result": self.updates[: asked["limit"]]})
