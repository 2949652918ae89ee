"""Slack, the way out: chat.postMessage and what belongs to it.

Source: https://docs.slack.dev/reference/methods/chat.postMessage (a message a second to a channel; texts of about 4,000
characters), https://docs.slack.dev/apis/web-api/rate-limits (429 with Retry-After) and
https://docs.slack.dev/messaging/message-metadata. There is no idempotency key: the key is put into the message's
metadata, and found there again by conversations.history, or conversations.replies for a thread.
"""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from agentbus.contracts.address import Address
from agentbus.contracts.messages import TextContent
from agentbus.workers.adapters.emoji import SLACK as SLACKS_NAMES
from agentbus.workers.adapters.emoji import named
from agentbus.workers.adapters.markdown import SLACK, render
from agentbus.workers.adapters.port import Failed, Outbound, Outcome, Sent, Unknown
from agentbus.workers.adapters.posting import Answered, posted, refused, too_much

if TYPE_CHECKING:
    from httpx import AsyncClient

EVENT_TYPE: Final = "agentbus_reply"
"""What the metadata of our messages are called."""

_PAGES: Final = 10
_PAGE: Final = 200
_APART: Final = timedelta(minutes=5)
"""By so much our clock and Slack's may differ."""
_FAILED_ITSELF: Final = frozenset({"internal_error", "fatal_error", "service_unavailable", "request_timeout"})
_MENDABLE: Final = frozenset(
    {"invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired", "missing_scope"}
)
_LIMITED: Final = frozenset({"ratelimited", "rate_limited", "message_limit_exceeded"})


class SlackOutbound(Outbound):
    """Sends by one app in one workspace."""

    def __init__(self, api: str, token: str, client: "AsyncClient") -> None:
        self._url = api.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"}
        self._client = client

    async def send(self, content: TextContent, address: Address, key: str, *, timeout: float = 10.0) -> Outcome:
        asked: dict[str, Any] = {
            "channel": channel_of(address),
            "text": render(content.text, SLACK),
            "metadata": {"event_type": EVENT_TYPE, "event_payload": {"key": key}},
        }
        if thread := address.thread or content.reply_to:
            asked["thread_ts"] = thread
        return _outcome(await self._call("chat.postMessage", asked, timeout))

    async def edit(self, message_id: str, content: TextContent, address: Address, *, timeout: float = 10.0) -> Outcome:
        asked = {"channel": channel_of(address), "ts": message_id, "text": render(content.text, SLACK)}
        return _outcome(await self._call("chat.update", asked, timeout), known=message_id)

    async def delete(self, message_id: str, address: Address, *, timeout: float = 10.0) -> Outcome:
        asked = {"channel": channel_of(address), "ts": message_id}
        answer = await self._call("chat.delete", asked, timeout)
        return _outcome(answer, known=message_id, well="message_not_found")

    async def react(self, message_id: str, reaction: str, address: Address, *, timeout: float = 10.0) -> Outcome:
        asked = {"channel": channel_of(address), "timestamp": message_id, "name": named(reaction, SLACKS_NAMES)}
        answer = await self._call("reactions.add", asked, timeout)
        return _outcome(answer, known=message_id, well="already_reacted")

    async def reconcile(self, key: str, address: Address, since: datetime, *, timeout: float = 10.0) -> Outcome:
        """Look for the key in the channel's messages since then, or in the thread's."""
        asked: dict[str, str] = {
            "channel": channel_of(address),
            "oldest": f"{(since - _APART).timestamp():.6f}",
            "include_all_metadata": "true",
            "limit": str(_PAGE),
        }
        method = "conversations.history"
        if address.thread is not None:
            method, asked = "conversations.replies", asked | {"ts": address.thread}
        for _ in range(_PAGES):
            answer = await posted(
                self._client,
                f"{self._url}/{method}",
                method="GET",
                params=asked,
                headers=self._headers,
                timeout=timeout,
            )
            if not isinstance(answer, Answered):
                return Unknown("the channel's history can't be read for the moment")
            if answer.status == 429:
                return too_much(answer)
            if answer.at("ok") is not True:
                return Unknown(f"the channel's history can't be read: {answer.text('error')}")
            if found := _with_key(answer.at("messages"), key):
                return Sent(found)
            cursor = answer.text("response_metadata", "next_cursor")
            if not cursor:
                return Failed("it is not in the channel's history", permanent=False)
            asked = asked | {"cursor": cursor}
        return Unknown("too much was said in the channel since")

    async def _call(self, method: str, asked: object, timeout: float) -> Answered | Failed | Unknown:
        url = f"{self._url}/{method}"
        return await posted(self._client, url, json=asked, headers=self._headers, timeout=timeout)


def channel_of(address: Address) -> str:
    """Return the channel's own id: of another workspace, a chat is named with the workspace's before it."""
    return address.chat.rpartition("/")[2]


def _with_key(messages: object, key: str) -> str:
    """Return the id of the message with our key; empty if there is none."""
    for message in messages if isinstance(messages, list) else ():
        told = Answered(200, message) if isinstance(message, dict) else Answered(200, {})
        ours = told.text("metadata", "event_type") == EVENT_TYPE
        if ours and told.text("metadata", "event_payload", "key") == key:
            return told.text("ts")
    return ""


def _outcome(answer: Answered | Failed | Unknown, *, known: str = "", well: str = "") -> Outcome:
    if not isinstance(answer, Answered):
        return answer
    error = answer.text("error")
    if answer.at("ok") is True or (well and error == well):
        message_id = known or answer.text("ts")
        return Sent(message_id) if message_id else Unknown("the answer names no message")
    if answer.status == 429 or error in _LIMITED:
        return too_much(answer)
    if error in _FAILED_ITSELF or not error:
        return Unknown(f"the platform failed: {error or f'status {answer.status}'}")
    return refused(answer, error, permanent=error not in _MENDABLE)
