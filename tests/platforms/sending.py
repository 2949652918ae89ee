"""The platforms' other side of what we send: they take messages by their own rules, and fail as they are told.

They are handlers of `httpx.MockTransport`: no server, no port. What each does is from the documentation that the
adapter's `outbound.py` cites.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import httpx

from agentbus.contracts.address import Address, Platform
from agentbus.workers.adapters.discord.outbound import DiscordOutbound
from agentbus.workers.adapters.feishu.outbound import FeishuOutbound
from agentbus.workers.adapters.line.outbound import LineOutbound
from agentbus.workers.adapters.port import Capabilities, Guarantee, Outbound
from agentbus.workers.adapters.slack.outbound import SlackOutbound
from agentbus.workers.adapters.telegram.outbound import TelegramOutbound
from agentbus.workers.adapters.webhook.outbound import WebhookOutbound
from agentbus.workers.adapters.whatsapp.outbound import WhatsAppOutbound
from tests.harness.outbound import Fate, Killed

TOKEN = "777:a-secret-that-no-log-shows"  # noqa: S105 - of no bot
WEBHOOK = Platform("webhook")
API = "https://platform.test"


@dataclass(frozen=True)
class Taken:
    """A message that the platform has."""

    chat: str
    text: str
    key: str
    """What it was told apart by, if by anything."""
    message_id: str


@dataclass
class FakePlatform(ABC):
    """Takes what is sent. `fate` has a word for each request that would make a message.

    `lost`, `died`: the connection ends before, or after it took the message. `killed`, `after`: so does the sender.
    `busy`: too much. `error`, `odd`: 500 before, or after it took the message. `refused`: never.
    """

    fate: Fate = field(default_factory=Fate)
    taken: list[Taken] = field(default_factory=list)
    requests: list[httpx.Request] = field(default_factory=list)

    platform: Platform = Platform.CUSTOM
    guarantee: Guarantee = Guarantee.UNKNOWN

    def client(self) -> httpx.AsyncClient:
        """Return a client that reaches nobody else."""
        return httpx.AsyncClient(transport=httpx.MockTransport(self.handle))

    @abstractmethod
    def outbound(self, client: httpx.AsyncClient) -> Outbound:
        """Return our adapter for it."""

    def address(self, chat: str = "C1", **more: Any) -> Address:
        return Address(platform=self.platform, chat=chat, user="U1", **more)

    @property
    def can(self) -> Capabilities:
        return Capabilities(receives=frozenset(), guarantee=self.guarantee, text_limit=64, key_seconds=3600.0)

    async def handle(self, request: httpx.Request) -> httpx.Response:
        """Answer a request."""
        self.requests.append(request)
        made = self.message_in(request)
        if made is None:
            return self.other(request)
        fate = self.fate.next()
        match fate:
            case "lost":
                raise httpx.ConnectTimeout("not even reached") if len(self.requests) % 2 else httpx.ReadError("gone")
            case "killed":
                raise Killed
            case "busy":
                return self.busy()
            case "error":
                return httpx.Response(502, text="<html>bad gateway</html>")
            case "refused":
                return self.refusal()
        taken, again = self.take(*made)
        match fate:
            case "died":
                raise httpx.ReadError("gone")
            case "after":
                raise Killed
            case "odd":
                return httpx.Response(500)
        return self.repeated(taken) if again else self.accepted(taken)

    @property
    def texts(self) -> list[str]:
        """Return what people read, in its order."""
        return [one.text for one in self.taken]

    def take(self, chat: str, text: str, key: str) -> tuple[Taken, bool]:
        """Keep a message; return it, and whether it was there under its key, which then counts for nothing."""
        if self.guarantee is Guarantee.IDEMPOTENT:
            for one in self.taken:
                if one.key == key:
                    return one, True
        taken = Taken(chat, text, key, str(1000 + len(self.taken)))
        self.taken.append(taken)
        return taken, False

    @abstractmethod
    def message_in(self, request: httpx.Request) -> tuple[str, str, str] | None:
        """Return chat, text and key of the message that a request asks for; None if it is for something else."""

    @abstractmethod
    def accepted(self, taken: Taken) -> httpx.Response:
        """Answer that a message was taken."""

    def repeated(self, taken: Taken) -> httpx.Response:
        """Answer that a message was taken before."""
        return self.accepted(taken)

    def busy(self) -> httpx.Response:
        """Answer that it is too much."""
        return httpx.Response(429, headers={"retry-after": "3"}, json={})

    def refusal(self) -> httpx.Response:
        """Answer that it will never be taken."""
        return httpx.Response(403, json={"message": "the chat is gone"})

    def other(self, request: httpx.Request) -> httpx.Response:
        """Answer another request."""
        return httpx.Response(404, json={"message": f"nothing at {request.url.path}"})


def said(request: httpx.Request) -> dict[str, Any]:
    """Return what a request says in JSON."""
    found = json.loads(request.content)
    assert isinstance(found, dict)
    return found


@dataclass
class FakeTelegram(FakePlatform):
    """Telegram: no key, nothing can be asked."""

    platform: Platform = Platform.TELEGRAM
    unreadable: bool = False
    """Whether it can't read any markup."""

    def outbound(self, client: httpx.AsyncClient) -> Outbound:
        return TelegramOutbound(API, TOKEN, client)

    def message_in(self, request: httpx.Request) -> tuple[str, str, str] | None:
        assert request.url.path.startswith(f"/bot{TOKEN}/")
        body = said(request)
        if not request.url.path.endswith("/sendMessage") or (self.unreadable and "parse_mode" in body):
            return None
        return body["chat_id"], body["text"], ""

    def accepted(self, taken: Taken) -> httpx.Response:
        return httpx.Response(200, json={"ok": True, "result": {"message_id": int(taken.message_id)}})

    def busy(self) -> httpx.Response:
        body = {"ok": False, "error_code": 429, "description": "Too Many Requests", "parameters": {"retry_after": 3}}
        return httpx.Response(429, json=body)

    def refusal(self) -> httpx.Response:
        return httpx.Response(403, json={"ok": False, "description": "Forbidden: bot was blocked by the user"})

    def other(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/sendMessage"):
            told = "Bad Request: can't parse entities: unexpected end tag at byte offset 3"
            return httpx.Response(400, json={"ok": False, "description": told})
        return httpx.Response(200, json={"ok": True, "result": True})


@dataclass
class FakeSlack(FakePlatform):
    """Slack: no key, but what the metadata say is in the channel's history."""

    platform: Platform = Platform.SLACK
    guarantee: Guarantee = Guarantee.RECONCILED
    page: int = 2

    def outbound(self, client: httpx.AsyncClient) -> Outbound:
        return SlackOutbound(API, TOKEN, client)

    def message_in(self, request: httpx.Request) -> tuple[str, str, str] | None:
        assert request.headers["authorization"] == f"Bearer {TOKEN}"
        if request.url.path != "/chat.postMessage":
            return None
        body = said(request)
        return body["channel"], body["text"], body["metadata"]["event_payload"]["key"]

    def accepted(self, taken: Taken) -> httpx.Response:
        return httpx.Response(200, json={"ok": True, "ts": taken.message_id, "channel": taken.chat})

    def busy(self) -> httpx.Response:
        return httpx.Response(429, headers={"retry-after": "3"}, json={"ok": False, "error": "ratelimited"})

    def refusal(self) -> httpx.Response:
        return httpx.Response(200, json={"ok": False, "error": "is_archived"})

    def other(self, request: httpx.Request) -> httpx.Response:
        asked = parse_qs(request.url.query.decode())
        assert asked["include_all_metadata"] == ["true"]
        first = int(asked.get("cursor", ["0"])[0])
        there = [one for one in reversed(self.taken) if one.chat == asked["channel"][0]]
        messages = [
            {
                "ts": one.message_id,
                "text": one.text,
                "metadata": {"event_type": "agentbus_reply", "event_payload": {"key": one.key}},
            }
            for one in there[first : first + self.page]
        ]
        more = {"next_cursor": str(first + self.page)} if first + self.page < len(there) else {}
        return httpx.Response(200, json={"ok": True, "messages": messages, "response_metadata": more})


@dataclass
class FakeDiscord(FakePlatform):
    """Discord: a nonce that is enforced for some minutes."""

    platform: Platform = Platform.DISCORD
    guarantee: Guarantee = Guarantee.IDEMPOTENT

    def outbound(self, client: httpx.AsyncClient) -> Outbound:
        return DiscordOutbound(API, TOKEN, client)

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
        return httpx.Response(429, json={"message": "You are being rate limited.", "retry_after": 2.5, "global": True})

    def other(self, request: httpx.Request) -> httpx.Response:  # noqa: ARG002 - whatever it is
        return httpx.Response(204)


@dataclass
class FakeWhatsApp(FakePlatform):
    """WhatsApp: no key; what became of a message is told by a webhook."""

    platform: Platform = Platform.WHATSAPP
    guarantee: Guarantee = Guarantee.RECONCILED

    def outbound(self, client: httpx.AsyncClient) -> Outbound:
        return WhatsAppOutbound(f"{API}/v23.0", "4711", TOKEN, client)

    def message_in(self, request: httpx.Request) -> tuple[str, str, str] | None:
        assert request.url.path == "/v23.0/4711/messages"
        body = said(request)
        assert body["messaging_product"] == "whatsapp"
        if body["type"] != "text":
            return None
        return body["to"], body["text"]["body"], body["biz_opaque_callback_data"]

    def accepted(self, taken: Taken) -> httpx.Response:
        return httpx.Response(200, json={"messages": [{"id": f"wamid.{taken.message_id}"}]})

    def busy(self) -> httpx.Response:
        return httpx.Response(400, json={"error": {"code": 131056, "message": "(#131056) Pair rate limit hit"}})

    def refusal(self) -> httpx.Response:
        details = "Message failed to send because more than 24 hours have passed"
        error = {"code": 131047, "message": "Re-engagement message", "error_data": {"details": details}}
        return httpx.Response(400, json={"error": error})

    def other(self, request: httpx.Request) -> httpx.Response:  # noqa: ARG002 - whatever it is
        return httpx.Response(200, json={"messages": [{"id": "wamid.0"}]})


@dataclass
class FakeLine(FakePlatform):
    """LINE: a retry key, good for a day."""

    platform: Platform = Platform.LINE
    guarantee: Guarantee = Guarantee.IDEMPOTENT

    def outbound(self, client: httpx.AsyncClient) -> Outbound:
        return LineOutbound(API, TOKEN, client)

    def message_in(self, request: httpx.Request) -> tuple[str, str, str] | None:
        assert request.headers["authorization"] == f"Bearer {TOKEN}"
        if request.url.path != "/v2/bot/message/push":
            return None
        body = said(request)
        return body["to"], body["messages"][0]["text"], request.headers["x-line-retry-key"]

    def accepted(self, taken: Taken) -> httpx.Response:
        return httpx.Response(200, json={"sentMessages": [{"id": taken.message_id}]})

    def repeated(self, taken: Taken) -> httpx.Response:
        body = {"message": "The retry key is already accepted", "sentMessages": [{"id": taken.message_id}]}
        return httpx.Response(409, json=body, headers={"x-line-accepted-request-id": "1"})

    def other(self, request: httpx.Request) -> httpx.Response:  # noqa: ARG002 - whatever it is
        return httpx.Response(202, json={})


@dataclass
class FakeFeishu(FakePlatform):
    """Feishu: a uuid, good for an hour; tokens that end."""

    platform: Platform = Platform.FEISHU
    guarantee: Guarantee = Guarantee.IDEMPOTENT
    tokens: Iterator[int] = field(default_factory=lambda: iter(range(1, 100)))
    token: str = ""

    def outbound(self, client: httpx.AsyncClient) -> Outbound:
        return FeishuOutbound(API, "cli_1", TOKEN, client)

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
        headers = {"x-ogw-ratelimit-reset": "3"}
        return httpx.Response(400, headers=headers, json={"code": 99991400, "msg": "request trigger frequency limit"})

    def refusal(self) -> httpx.Response:
        return httpx.Response(400, json={"code": 230002, "msg": "The bot can not be outside the group."})

    def other(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/internal"):
            assert said(request) == {"app_id": "cli_1", "app_secret": TOKEN}
            self.token = f"t-{next(self.tokens)}"
            return httpx.Response(200, json={"code": 0, "tenant_access_token": self.token, "expire": 7200})
        if request.headers["authorization"] != f"Bearer {self.token}":
            return httpx.Response(400, json={"code": 99991663, "msg": "Invalid access token for authorization."})
        return httpx.Response(200, json={"code": 0, "msg": "success", "data": {}})


@dataclass
class FakeWebhook(FakePlatform):
    """Somebody's server that drops repeats by the request's id."""

    platform: Platform = WEBHOOK
    guarantee: Guarantee = Guarantee.IDEMPOTENT

    def outbound(self, client: httpx.AsyncClient) -> Outbound:
        return WebhookOutbound(f"{API}/replies", TOKEN.encode(), client)

    def message_in(self, request: httpx.Request) -> tuple[str, str, str] | None:
        body = said(request)
        if body["type"] != "reply":
            return None
        return body["chat"], body["text"], request.headers["webhook-id"]

    def accepted(self, taken: Taken) -> httpx.Response:
        return httpx.Response(202, json={"message_id": taken.message_id})

    def other(self, request: httpx.Request) -> httpx.Response:  # noqa: ARG002 - whatever it is
        return httpx.Response(204)


PLATFORMS: tuple[type[FakePlatform], ...] = (
    FakeTelegram,
    FakeSlack,
    FakeDiscord,
    FakeWhatsApp,
    FakeLine,
    FakeFeishu,
    FakeWebhook,
)
