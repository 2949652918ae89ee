"""Discord, the way out: messages by the HTTP API.

Source: https://discord.com/developers/docs/resources/message#create-message (2,000 characters; `nonce` of up to 25
characters with `enforce_nonce`: a message with the same one within the last few minutes is returned, and no new one
made) and https://discord.com/developers/docs/topics/rate-limits (429 with `retry_after` and `global`). Nobody is
mentioned by what a bot repeats of somebody's words: `allowed_mentions` is empty.
"""

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from agentbus.contracts.address import Address
from agentbus.contracts.ids import digest_of
from agentbus.contracts.messages import TextContent
from agentbus.workers.adapters.port import Failed, Outbound, Outcome, Sent, Unknown
from agentbus.workers.adapters.posting import Answered, posted, refused, too_much

if TYPE_CHECKING:
    from httpx import AsyncClient

LONGEST_NONCE: Final = 25
_NO_MENTIONS: Final[dict[str, Any]] = {"parse": []}
_UNKNOWN_MESSAGE: Final = "10008"


class DiscordOutbound(Outbound):
    """Sends by one bot."""

    def __init__(self, api: str, token: str, client: "AsyncClient") -> None:
        self._url = api.rstrip("/")
        self._headers = {"Authorization": f"Bot {token}"}
        self._client = client

    async def send(self, content: TextContent, address: Address, key: str, *, timeout: float = 10.0) -> Outcome:
        """Send a text: Discord reads Markdown."""
        asked: dict[str, Any] = {
            "content": content.text,
            "nonce": nonce_of(key),
            "enforce_nonce": True,
            "allowed_mentions": _NO_MENTIONS,
        }
        if content.reply_to is not None:
            asked["message_reference"] = {"message_id": content.reply_to, "fail_if_not_exists": False}
        return _outcome(await self._call("POST", f"{_channel(address)}/messages", asked, timeout))

    async def edit(self, message_id: str, content: TextContent, address: Address, *, timeout: float = 10.0) -> Outcome:
        asked = {"content": content.text, "allowed_mentions": _NO_MENTIONS}
        path = f"{_channel(address)}/messages/{quote(message_id, safe='')}"
        return _outcome(await self._call("PATCH", path, asked, timeout), known=message_id)

    async def delete(self, message_id: str, address: Address, *, timeout: float = 10.0) -> Outcome:
        path = f"{_channel(address)}/messages/{quote(message_id, safe='')}"
        return _outcome(await self._call("DELETE", path, None, timeout), known=message_id, well=_UNKNOWN_MESSAGE)

    async def react(self, message_id: str, reaction: str, address: Address, *, timeout: float = 10.0) -> Outcome:
        emoji = quote(reaction.strip(":<>"), safe="")
        path = f"{_channel(address)}/messages/{quote(message_id, safe='')}/reactions/{emoji}/@me"
        return _outcome(await self._call("PUT", path, None, timeout), known=message_id)

    async def typing(self, address: Address, *, timeout: float = 5.0) -> None:
        await self._call("POST", f"{_channel(address)}/typing", None, timeout)

    async def _call(self, method: str, path: str, asked: object, timeout: float) -> Answered | Failed | Unknown:
        url = f"{self._url}/{path}"
        return await posted(self._client, url, method=method, json=asked, headers=self._headers, timeout=timeout)


def nonce_of(key: str) -> str:
    """Return the nonce that stands for a key: as long a digest as there is room for."""
    return digest_of((key,))[:LONGEST_NONCE]


def _channel(address: Address) -> str:
    """Return the path of a chat; a thread is a channel of its own."""
    return f"channels/{quote(address.thread or address.chat, safe='')}"


def _outcome(answer: Answered | Failed | Unknown, *, known: str = "", well: str = "") -> Outcome:
    if not isinstance(answer, Answered):
        return answer
    if answer.is_well or (well and answer.text("code") == well):
        message_id = known or answer.text("id")
        return Sent(message_id) if message_id else Unknown("the answer names no message")
    if answer.status == 429:
        return too_much(answer, answer.at("retry_after"), account=answer.at("global") is True)
    return refused(answer, answer.text("message"))
