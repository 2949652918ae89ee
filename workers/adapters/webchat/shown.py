"""What a visitor is shown of a conversation: what was said in their chat, as the window reads it.

A conversation may hold more than one chat, if the installation's scope has it so. Whatever it holds, a visitor sees
messages of their own chat alone, of people and of the bot: no instructions, no tools' results, no other's copies.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agentbus.contracts.address import Address
from agentbus.contracts.events import MessageAppended
from agentbus.contracts.history import HistoryMessage
from agentbus.contracts.messages import Attachment, Role, SessionMessage, TextContent, as_line
from agentbus.contracts.writing import Writing
from agentbus.workers.adapters.webchat.inbound import own_id_of
from agentbus.workers.adapters.webchat.tokens import PLATFORM, Visitor

Frame = dict[str, Any]
"""What the window is told at a time, as JSON."""

_SPEAKERS = frozenset({Role.USER, Role.ASSISTANT})


@dataclass(frozen=True, slots=True)
class View:
    """What one visitor may see."""

    visitor: Visitor

    def has(self, message: SessionMessage) -> bool:
        """Whether a message is one of the visitor's chat."""
        return message.role in _SPEAKERS and self._is_here(message.address)

    def said(self, event: MessageAppended) -> Frame | None:
        """Return how a new message is shown; None if it is not."""
        if event.source is not None or not self.has(event.message):
            return None
        return {"type": "message", "message": self._message(event.message)}

    def kept(self, one: HistoryMessage) -> Frame | None:
        """Return how a message of the history is shown, as it reads now; None if it is not."""
        if not self.has(one.message) or one.deleted_at is not None:
            return None
        return self._message(one.message) | ({"edited": True} if one.edited_at else {})

    def written(self, writing: Writing) -> Frame | None:
        """Return how a reply is shown that is being written; None if it is not."""
        if not self._is_here(writing.to):
            return None
        return {"type": "writing", "id": writing.id, "text": writing.text, "over": writing.over}

    def _is_here(self, where: Address | None) -> bool:
        chat = (PLATFORM, self.visitor.account, self.visitor.chat)
        return where is not None and (where.platform, where.account, where.chat) == chat

    def _message(self, message: SessionMessage) -> Frame:
        mine = (
            message.role is Role.USER and message.address is not None and message.address.user == self.visitor.visitor
        )
        content = message.content
        files = content.attachments if isinstance(content, TextContent) else ()
        bot = message.role is Role.ASSISTANT
        found = {
            "key": message.key,
            "from": "visitor" if mine else "bot" if bot else "other",
            "id": own_id_of(message.message_id) if mine else message.message_id if bot else None,
            "name": message.author,
            "text": as_line(content),
            "at": _written(message.sent_at),
            "attachments": attached(files),
        }
        return {name: value for name, value in found.items() if value is not None and value != []}


def attached(files: tuple[Attachment, ...]) -> list[Frame]:
    """Return attachments as the window links them."""
    return [{"uri": one.uri, "name": one.name, "kind": one.kind, "media_type": one.media_type} for one in files]


def _written(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")
