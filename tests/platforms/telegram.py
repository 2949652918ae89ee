"""Telegram's side: its Bot API, and updates posted to a webhook.

Sources: https://core.telegram.org/bots/api#update, #setwebhook (`secret_token`; `max_connections` of 1: one update
after the other; "in case of an unsuccessful request ... we will repeat the request"), #getupdates, #sendmessage,
#making-requests and #responseparameters (`retry_after`). It takes no key, and can't be asked what it took.
"""

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

import httpx

from agentbus.contracts.address import Platform
from agentbus.workers.adapters.port import Request
from tests.platforms.model import API, SECRET, TOKEN, FakePlatform, Said, Taken, said

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


@dataclass
class FakeTelegram(FakePlatform):
    """Telegram: no key, nothing can be asked."""

    platform: Platform = Platform.TELEGRAM
    unreadable: bool = False
    """Whether it can't read any markup."""
    updates: list[dict[str, Any]] = field(default_factory=list)
    """What it gives to whoever asks by getUpdates: all from the offset on, which confirms what came before it."""
    asked: list[dict[str, Any]] = field(default_factory=list)
    """What was asked for so."""
    answers: list[httpx.Response | Exception] = field(default_factory=list)
    """What is answered first, in place of updates."""

    in_order: ClassVar[bool] = True

    def posting(self, said: Said, at: datetime, again: int = 0) -> Request:  # noqa: ARG002 - a repeat is the same
        chat = {"id": said.user, "type": "private"}
        somebody = {"id": said.user, "is_bot": False, "first_name": f"u{said.user}"}
        told = message(said.number, text=said.text, chat=chat, **{"from": somebody})
        return posted(SECRET, update(10_000 * said.user + said.number, message=told), at)

    def account(self, api: str = API) -> dict[str, Any]:
        return {"webhook_secret": SECRET, "token": TOKEN, "api": api}

    def message_in(self, request: httpx.Request) -> tuple[str, str, str] | None:
        assert request.url.path.startswith(f"/bot{TOKEN}/")
        body = said(request)
        if not request.url.path.endswith("/sendMessage") or (self.unreadable and "parse_mode" in body):
            return None
        return body["chat_id"], body["text"], ""

    def accepted(self, taken: Taken) -> httpx.Response:
        return httpx.Response(200, json={"ok": True, "result": {"message_id": int(taken.message_id)}})

    def busy(self) -> httpx.Response:
        body = {"ok": False, "error_code": 429, "description": "Too Many Requests"}
        return httpx.Response(429, json=body | {"parameters": {"retry_after": self.busy_for}})

    def refusal(self) -> httpx.Response:
        return httpx.Response(403, json={"ok": False, "description": "Forbidden: bot was blocked by the user"})

    def other(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/getUpdates"):
            return self._given(said(request))
        if request.url.path.endswith("/sendMessage"):
            told = "Bad Request: can't parse entities: unexpected end tag at byte offset 3"
            return httpx.Response(400, json={"ok": False, "description": told})
        return httpx.Response(200, json={"ok": True, "result": True})

    def _given(self, asked: dict[str, Any]) -> httpx.Response:
        """Answer getUpdates at once: it holds no request for which there is nothing."""
        self.asked.append(asked)
        if self.answers:
            answer = self.answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer
        self.updates = [one for one in self.updates if one["update_id"] >= asked["offset"]]
        return httpx.Response(200, json={"ok": True, "result": self.updates[: asked["limit"]]})
