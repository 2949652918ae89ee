"""Telegram, the way out: the Bot API's sendMessage and what belongs to it.

Source: https://core.telegram.org/bots/api (sendMessage, editMessageText, deleteMessage, setMessageReaction,
sendChatAction, Making requests; sendMessageDraft: a preview of 30 seconds, in private chats) and https://core.telegram.org/bots/faq#my-bot-is-hitting-limits-how-do-i-avoid-this:
a message a second to a chat, 30 a second in all. There is no idempotency key, and nothing can be asked: where the
connection dies, nobody knows.
"""

from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

from agentbus.contracts.address import Address
from agentbus.contracts.messages import TextContent
from agentbus.workers.adapters.emoji import plain
from agentbus.workers.adapters.markdown import TELEGRAM, render
from agentbus.workers.adapters.masking import mask_tokens
from agentbus.workers.adapters.port import Failed, Outbound, Outcome, RateLimited, Sent, Unknown
from agentbus.workers.adapters.posting import Answered, posted, refused, too_much

if TYPE_CHECKING:
    from httpx import AsyncClient

_UNREADABLE: Final = "can't parse entities"
_SAME: Final = "message is not modified"
_GONE: Final = "message to delete not found"
_NO_METHOD: Final = "Not Found"


class TelegramOutbound(Outbound):
    """Sends by one bot."""

    def __init__(self, api: str, token: str, client: "AsyncClient") -> None:
        mask_tokens()
        self._url = f"{api.rstrip('/')}/bot{token}"
        self._client = client

    async def send(
        self,
        content: TextContent,
        address: Address,
        key: str,  # noqa: ARG002 - Telegram takes none
        *,
        timeout: float = 10.0,
    ) -> Outcome:
        """Send a text as HTML; as it is, should Telegram not be able to read that."""
        asked: dict[str, Any] = {"chat_id": address.chat}
        if address.thread is not None:
            asked["message_thread_id"] = address.thread
        if content.reply_to is not None:
            asked["reply_parameters"] = {"message_id": content.reply_to, "allow_sending_without_reply": True}
        return await self._said("sendMessage", asked, content.text, timeout)

    async def edit(self, message_id: str, content: TextContent, address: Address, *, timeout: float = 10.0) -> Outcome:
        asked = {"chat_id": address.chat, "message_id": message_id}
        return await self._said("editMessageText", asked, content.text, timeout, known=message_id)

    async def delete(self, message_id: str, address: Address, *, timeout: float = 10.0) -> Outcome:
        asked = {"chat_id": address.chat, "message_id": message_id}
        return _outcome(await self._call("deleteMessage", asked, timeout), known=message_id, well=_GONE)

    async def react(self, message_id: str, reaction: str, address: Address, *, timeout: float = 10.0) -> Outcome:
        emoji = [{"type": "emoji", "emoji": plain(reaction)}]
        asked = {"chat_id": address.chat, "message_id": message_id, "reaction": emoji}
        return _outcome(await self._call("setMessageReaction", asked, timeout), known=message_id)

    async def show(self, content: TextContent, address: Address, key: str, *, timeout: float = 10.0) -> Outcome:
        """Show a draft: people alone have that, whose chats have ids above 0."""
        if not address.chat.isdecimal():
            return self._unable("show")
        asked: dict[str, Any] = {"chat_id": int(address.chat), "draft_id": draft_id_of(key)}
        if address.thread is not None:
            asked["message_thread_id"] = address.thread
        outcome = await self._said("sendMessageDraft", asked, content.text, timeout, known=key)
        # A server of one's own that is older does not know the method, and says 404.
        if isinstance(outcome, Failed) and outcome.reason.startswith(_NO_METHOD):
            return Failed(outcome.reason, permanent=True)
        return outcome

    async def typing(self, address: Address, *, timeout: float = 5.0) -> None:
        await self._call("sendChatAction", {"chat_id": address.chat, "action": "typing"}, timeout)

    async def _said(self, method: str, asked: dict[str, Any], text: str, timeout: float, known: str = "") -> Outcome:
        marked = asked | {"text": render(text, TELEGRAM), "parse_mode": "HTML"}
        answer = await self._call(method, marked, timeout)
        if isinstance(answer, Answered) and answer.status == 400 and _UNREADABLE in answer.text("description"):
            answer = await self._call(method, asked | {"text": text}, timeout)
        return _outcome(answer, known=known, well=_SAME)

    async def _call(self, method: str, asked: object, timeout: float) -> Answered | Outcome:
        return await posted(self._client, f"{self._url}/{method}", json=asked, timeout=timeout)


def draft_id_of(key: str) -> int:
    """Return the number that stands for a key: any but 0, and of 31 bits."""
    return int.from_bytes(blake2b(key.encode(), digest_size=4).digest(), "big") >> 1 | 1


def _outcome(answer: Answered | Outcome, *, known: str = "", well: str = "") -> Outcome:
    """Return what an answer says; a refusal that says `well` is none. `known`: the message's id, where it has one."""
    if not isinstance(answer, Answered):
        return answer
    told = answer.text("description")
    if answer.is_well or (well and well in told):
        message_id = known or answer.text("result", "message_id")
        return Sent(message_id) if message_id else Unknown("the answer names no message")
    if answer.status == 429:
        return _flood(answer)
    return refused(answer, told, permanent=False if answer.status == 404 else None)  # 404: there is no such bot


def _flood(answer: Answered) -> RateLimited:
    return too_much(answer, answer.at("parameters", "retry_after"))
