"""A session's history as it reads now: messages with edits, deletions and reactions worked in."""

from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from datetime import datetime
from typing import Final

from agentbus.contracts.events import (
    AnyEvent,
    Commit,
    MessageAppended,
    MessageDeleted,
    MessageEdited,
    ReactionChanged,
)
from agentbus.contracts.history import HistoryMessage, Page, Reaction
from agentbus.contracts.ids import ConversationId, MessageKey, SessionId, conversation_of, generation_of
from agentbus.contracts.messages import ALL_REACTIONS, SessionMessage, SpokenContent, TextContent
from agentbus.contracts.session import SessionState
from agentbus.storage.paging import check_limit, decode_cursor, encode_cursor
from agentbus.storage.port import Store

_COMMITS: Final = 100
"""How many commits are read at once, at most."""


async def history_page(
    store: Store, session: SessionState, *, limit: int = 50, cursor: str | None = None
) -> Page[HistoryMessage]:
    """Return a page of a session's messages: the newest page first, its items oldest first, as a chat shows them.

    Raises ValueError for a limit outside 1..MAX_PAGE or a cursor that was not given out for this session.
    """
    check_limit(limit)
    version, before = _position(session, cursor)
    found = await _newest(store, session, version=version, before=before, count=limit + 1)
    shown = found[:limit]
    more = len(found) > limit
    at, oldest = shown[-1] if shown else (0, None)
    items = await as_read(store, session.conversation_id, [event for _, event in reversed(shown)])
    return Page(
        items=tuple(items),
        cursor=encode_cursor("history", session.session_id, at, oldest.sequence) if more and oldest else None,
    )


async def iter_history(store: Store, session: SessionState) -> AsyncIterator[HistoryMessage]:
    """Yield a session's messages, oldest first."""
    first = session.first_version
    while first <= session.version and (
        commits := await store.log.read(session.conversation_id, first=first, last=session.version, limit=_COMMITS)
    ):
        for item in await as_read(store, session.conversation_id, _messages(session, commits)):
            yield item
        first = commits[-1].version + 1


def _position(session: SessionState, cursor: str | None) -> tuple[int, int | None]:
    """Return the commit to go back from, and the sequence below which messages are wanted."""
    if cursor is None:
        return session.version, None
    owner, version, before = decode_cursor("history", cursor, str, int, int)
    if owner != session.session_id or not session.first_version <= version:
        raise ValueError("not a cursor of this session's history")
    return min(version, session.version), before


async def _newest(
    store: Store, session: SessionState, *, version: int, before: int | None, count: int
) -> list[tuple[int, MessageAppended]]:
    """Return the latest messages up to a commit, newest first, each with its commit's version."""
    found: list[tuple[int, MessageAppended]] = []
    while len(found) < count and version >= session.first_version:
        commits = await store.log.read(
            session.conversation_id,
            first=session.first_version,
            last=version,
            limit=_commits_holding(session, count - len(found)),
            newest=True,
        )
        if not commits:
            break
        for commit in commits:
            events = reversed(_messages(session, [commit]))
            found += [(commit.version, event) for event in events if before is None or event.sequence < before]
        version = commits[-1].version - 1
        if _trimmed(session, commits[-1]):
            break
    return found[:count]


def _commits_holding(session: SessionState, messages: int) -> int:
    """Return how many commits to read for so many messages, if each holds as many as the session's do on average."""
    commits = session.version - session.first_version + 1
    return min(_COMMITS, 1 + messages * commits // max(1, session.message_count))


def _messages(session: SessionState, commits: Iterable[Commit]) -> list[MessageAppended]:
    events = (event for commit in commits for event in commit.events)
    return [
        event
        for event in events
        if isinstance(event, MessageAppended)
        and event.session_id == session.session_id
        and event.sequence >= session.shown_from
    ]


def _trimmed(session: SessionState, commit: Commit) -> bool:
    """Whether a commit, and so all before it, holds nothing of the session that is still shown."""
    sequences = [event.sequence for event in commit.events if event.session_id == session.session_id]
    return bool(sequences) and max(sequences) < session.shown_from


async def as_read(
    store: Store, conversation: ConversationId, messages: Sequence[MessageAppended]
) -> list[HistoryMessage]:
    """Work the later changes into messages. Changes made in other sessions of the conversation count too."""
    keys = {event.message.key for event in messages}
    commits = await store.log.commits_amending(conversation, keys) if keys else []
    changes = _changes(commits, keys)
    return [amended(event, changes.get(event.message.key, ())) for event in messages]


def _changes(commits: Iterable[Commit], keys: Collection[MessageKey]) -> dict[MessageKey, list[AnyEvent]]:
    changes: dict[MessageKey, list[AnyEvent]] = {}
    for commit in commits:
        for event in commit.events:
            if isinstance(event, MessageEdited | MessageDeleted | ReactionChanged) and event.target in keys:
                changes.setdefault(event.target, []).append(event)
    return changes


def amended(appended: MessageAppended, changes: Iterable[AnyEvent]) -> HistoryMessage:
    """Return a message as it reads after changes of it, which come in their order."""
    content: SpokenContent = appended.message.content
    edited_at: datetime | None = None
    deleted_at: datetime | None = None
    latest = 0
    reactions: dict[Reaction, None] = {}
    for change in changes:
        if appended.restored and not _is_after(change, appended):
            continue  # It is in what the message reads.
        match change:
            case MessageEdited(source=source) | MessageDeleted(source=source) if not _is_for(appended, source):
                continue
            case MessageEdited() if deleted_at is None and (change.source is None or change.source_version >= latest):
                content, edited_at = _edited(content, change), change.at
                latest = max(latest, change.source_version)
            case MessageDeleted() if deleted_at is None:
                content, deleted_at = TextContent(), change.at
            case ReactionChanged():
                reaction = Reaction(user=change.user, reaction=change.reaction)
                all_of_theirs = change.removed and change.reaction == ALL_REACTIONS
                gone = [one for one in reactions if all_of_theirs and one.user == change.user]
                for one in (*gone, reaction):
                    reactions.pop(one, None)
                if not change.removed:
                    reactions[reaction] = None
    return HistoryMessage(
        sequence=appended.sequence,
        message=_saying(appended.message, content),
        edited_at=edited_at,
        deleted_at=deleted_at,
        reactions=tuple(reactions),
    )


def _is_for(appended: MessageAppended, source: SessionId | None) -> bool:
    """Whether a change is one of a message: what happened in a linked session is one of the copies made of it."""
    if source is None:
        return True
    return appended.source is not None and conversation_of(appended.source) == conversation_of(source)


def _is_after(change: AnyEvent, appended: MessageAppended) -> bool:
    """Whether a change came after a message was appended, in its session or in a later one."""
    return (generation_of(change.session_id), change.sequence) > (
        generation_of(appended.session_id),
        appended.sequence,
    )


def _edited(content: SpokenContent, change: MessageEdited) -> TextContent:
    reply_to = content.reply_to if isinstance(content, TextContent) else None
    return TextContent(text=change.text, attachments=change.attachments, reply_to=reply_to)


def _saying(message: SessionMessage, content: SpokenContent) -> SessionMessage:
    return message.model_copy(update={"content": content})
