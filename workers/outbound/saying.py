"""What a reply says: read from the log when it is sent, as it reads then."""

from dataclasses import dataclass

from agentbus.contracts.address import Address
from agentbus.contracts.events import Commit, MessageAppended, MessageDeleted, MessageEdited, ReplyRequested
from agentbus.contracts.ids import ConversationId
from agentbus.contracts.messages import Spoken, TextContent, as_line
from agentbus.contracts.replies import OutgoingReply
from agentbus.storage.port import Store


@dataclass(frozen=True, slots=True)
class TakenBack:
    """A reply that says nothing any more."""

    to: Address


@dataclass(frozen=True, slots=True)
class Saying:
    """What is to be sent, and where it goes."""

    content: TextContent
    to: Address
    message_id: str
    """By which a reply is known that was shown while it was being written."""
    restored: bool = False
    """Whether it came back from a backup: it may have been sent since that was made."""


async def what_it_says(store: Store, conversation: ConversationId, reply: OutgoingReply) -> Saying | TakenBack | None:
    """Return what a reply says, edits worked in; None if it is not in the log any more. Raises StoreDamaged."""
    commits = await store.log.read(conversation, first=reply.version, last=reply.version, limit=1)
    found = _in(commits[0], reply) if commits else None
    if found is None:
        return None
    asked, message_id, content = found
    for commit in await store.log.commits_amending(conversation, [asked.message]):
        for event in commit.events:
            if isinstance(event, MessageDeleted) and event.target == asked.message:
                return TakenBack(asked.to)
            if isinstance(event, MessageEdited) and event.target == asked.message:
                content = content.model_copy(update={"text": event.text, "attachments": event.attachments})
    if not content.text.strip() and not content.attachments:
        return TakenBack(asked.to)
    return Saying(content, asked.to, message_id, bool(commits[0].restored))


def _in(commit: Commit, reply: OutgoingReply) -> tuple[ReplyRequested, str, TextContent] | None:
    asked = next(
        (event for event in commit.events if isinstance(event, ReplyRequested) and event.reply_id == reply.reply_id),
        None,
    )
    said = {event.message.key: event.message for event in commit.events if isinstance(event, MessageAppended)}
    message = said.get(asked.message) if asked else None
    return (asked, message.message_id, _as_text(message.content)) if asked and message is not None else None


def _as_text(content: Spoken) -> TextContent:
    """Return what is said as text: a command, say, reads as it would be typed."""
    return content if isinstance(content, TextContent) else TextContent(text=as_line(content))
