"""Feishu and Lark, the way out: messages of the IM API.

Source: https://open.feishu.cn/document/server-docs/im-v1/message/create and .../message/reply (`uuid`, up to 50
characters: at most one message with the same one is sent within an hour; 5 messages a second to one chat), and
https://open.feishu.cn/document/server-docs/api-call-guide/frequency-control (1,000 a minute, 50 a second; HTTP 429 or
code 99991400, `x-ogw-ratelimit-reset` in seconds). A tenant's token is good for up to two hours.
"""

import json
from time import monotonic
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from agentbus.contracts.address import Address
from agentbus.contracts.ids import digest_of
from agentbus.contracts.messages import TextContent
from agentbus.workers.adapters.emoji import FEISHU, named
from agentbus.workers.adapters.markdown import PLAIN, render
from agentbus.workers.adapters.port import Failed, Outbound, Outcome, Sent, Unknown
from agentbus.workers.adapters.posting import Answered, posted, refused, too_much

if TYPE_CHECKING:
    from httpx import AsyncClient

_LIMITED: Final = frozenset({"99991400", "11232", "11233", "11247"})
_CHAT_LIMITED: Final = "230020"
_TOKEN_OVER: Final = frozenset({"99991661", "99991663", "99991664", "99991665", "99991668", "99991671"})
_FAILED_ITSELF: Final = frozenset({"230049", "1500", "55001"})
_EARLY: Final = 300.0
"""Seconds before its end at which a token is asked for anew."""


class FeishuOutbound(Outbound):
    """Sends by one app in one tenant."""

    def __init__(self, api: str, app_id: str, app_secret: str, client: "AsyncClient") -> None:
        self._url = api.rstrip("/")
        self._app = {"app_id": app_id, "app_secret": app_secret}
        self._client = client
        self._token = ""
        self._ends = 0.0

    async def send(self, content: TextContent, address: Address, key: str, *, timeout: float = 10.0) -> Outcome:
        """Send a text without any signs; into a thread only in answer to a message of it."""
        asked: dict[str, Any] = {
            "msg_type": "text",
            "content": json.dumps({"text": render(content.text, PLAIN)}, ensure_ascii=False),
            "uuid": digest_of((key,)),
        }
        if content.reply_to:
            threaded = {"reply_in_thread": True} if address.thread else {}
            path = f"messages/{quote(content.reply_to, safe='')}/reply"
            return await self._call("POST", path, asked | threaded, timeout)
        path = "messages?receive_id_type=chat_id"
        return await self._call("POST", path, asked | {"receive_id": address.chat}, timeout)

    async def edit(self, message_id: str, content: TextContent, address: Address, *, timeout: float = 10.0) -> Outcome:  # noqa: ARG002 - the id is enough
        text = json.dumps({"text": render(content.text, PLAIN)}, ensure_ascii=False)
        asked = {"msg_type": "text", "content": text}
        return await self._call("PUT", f"messages/{quote(message_id, safe='')}", asked, timeout, known=message_id)

    async def delete(self, message_id: str, address: Address, *, timeout: float = 10.0) -> Outcome:  # noqa: ARG002 - the id is enough
        return await self._call("DELETE", f"messages/{quote(message_id, safe='')}", None, timeout, known=message_id)

    async def react(self, message_id: str, reaction: str, address: Address, *, timeout: float = 10.0) -> Outcome:  # noqa: ARG002 - the id is enough
        """React with one of Feishu's own emoji: by its name, `OK` or `MUSCLE`, or as one that has such a name."""
        path = f"messages/{quote(message_id, safe='')}/reactions"
        asked = {"reaction_type": {"emoji_type": named(reaction, FEISHU)}}
        return await self._call("POST", path, asked, timeout, known=message_id)

    async def _call(self, method: str, path: str, asked: object, timeout: float, known: str = "") -> Outcome:
        failed = await self._need_token(timeout)
        if failed is not None:
            return failed
        answer = await posted(
            self._client,
            f"{self._url}/open-apis/im/v1/{path}",
            method=method,
            json=asked,
            headers={"Authorization": f"Bearer {self._token}"},
            timeout=timeout,
        )
        if isinstance(answer, Answered) and answer.text("code") in _TOKEN_OVER:
            self._token = ""
        return _outcome(answer, known)

    async def _need_token(self, timeout: float) -> Outcome | None:
        """Have a token that is good for a while; return why there is none. Nothing was sent then."""
        if self._token and monotonic() < self._ends:
            return None
        url = f"{self._url}/open-apis/auth/v3/tenant_access_token/internal"
        asked_at = monotonic()
        answer = await posted(self._client, url, json=self._app, timeout=timeout)
        if not isinstance(answer, Answered):
            return Failed(f"no token: {answer.reason}", permanent=False)
        if answer.status == 429 or answer.text("code") in _LIMITED:
            return _limited(answer)
        token, lasts = answer.text("tenant_access_token"), answer.at("expire")
        if not token:
            return Failed(f"no token: {answer.text('msg') or answer.status}", permanent=False)
        self._token = token
        self._ends = asked_at + (float(lasts) if isinstance(lasts, int) else 0.0) - _EARLY
        return None


def _outcome(answer: Answered | Failed | Unknown, known: str) -> Outcome:
    if not isinstance(answer, Answered):
        return answer
    code, told = answer.text("code"), answer.text("msg")
    if answer.is_well and code == "0":
        message_id = known or answer.text("data", "message_id")
        return Sent(message_id) if message_id else Unknown("the answer names no message")
    if answer.status == 429 or code in _LIMITED or code == _CHAT_LIMITED:
        return _limited(answer)
    if code in _FAILED_ITSELF or not code:
        return Unknown(f"the platform failed: {told or f'status {answer.status}'}")
    return refused(answer, f"{told} ({code})", permanent=code not in _TOKEN_OVER)


def _limited(answer: Answered) -> Outcome:
    chat = answer.text("code") == _CHAT_LIMITED
    return too_much(answer, answer.headers.get("x-ogw-ratelimit-reset"), account=not chat)
