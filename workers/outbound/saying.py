"""What a reply says: read from the log when it is sent, as it reads then."""

from dataclasses import dataclass
from typing import Final

from agentbus.contracts.address import Address
from agentbus.contracts.events import (
    Commit,
    MessageAppended,
    MessageDeleted,
    MessageEdited,
    ReactionChanged,
    ReplyReopened,
    ReplyRequested,
)
from agentbus.contracts.ids import ConversationId
from agentbus.contracts.messages import Spoken, TextContent, as_line
from agentbus.contracts.replies import OutgoingReply
from agentbus.storage.port import Store

_PAGE: Final = 100


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
    """Whether it came back from a backup, and nobody has had it sent again since: it may have been sent before that."""


@dataclass(frozen=True, slots=True)
class Reacting:
    """A reaction of the bot to somebody's message."""

    reaction: str
    message_id: str
    """The platform's id of that message."""
    to: Address


async def what_it_says(
    store: Store, conversation: ConversationId, reply: OutgoingReply
) -> Saying | Reacting | TakenBack | None:
    """Return what a reply says, edits worked in; None if it is not in the log any more. Raises StoreDamaged."""
    commits = await store.log.read(conversation, first=reply.version, last=reply.version, limit=1)
    if commits and (reacting := _reacting_in(commits[0], reply)):
        return reacting
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
    restored = bool(commits[0].restored) and not (reply.again and await _is_decided(store, conversation, reply))
    return Saying(content, asked.to, message_id, restored)


async def _is_decided(store: Store, conversation: ConversationId, reply: OutgoingReply) -> bool:
    """Whether somebody had a reply sent again after it came back: what was decided before came back with it."""
    first = reply.version + 1
    while commits := await store.log.read(conversation, first=first, limit=_PAGE):
        for commit in commits:
            for event in commit.events:
                if isinstance(event, ReplyReopened) and event.reply == reply.reply_id and not commit.restored:
                    return True
        first = commits[-1].version + 1
    return False


def _reacting_in(commit: Commit, reply: OutgoingReply) -> Reacting | None:
    for event in commit.events:
        if isinstance(event, ReplyRequested) and event.reply_id == reply.reply_id and event.reacts_to is not None:
            named = [one.reaction for one in commit.events if isinstance(one, ReactionChanged)]
            return Reacting(named[0], event.reacts_to, event.to) if named else None
    return None


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
