"""Erasing a conversation whole: its owner makes it a tombstone, then nothing of it stays in log, heads and archive."""

from typing import Final

from agentbus.contracts.clock import Clock
from agentbus.contracts.commands import EraseConversation
from agentbus.contracts.envelope import Input
from agentbus.contracts.errors import EditConflict, SessionNotCurrent, SessionNotFound
from agentbus.contracts.ids import ConversationId, InputId, SessionId, digest_of
from agentbus.contracts.session import SessionState
from agentbus.storage.archive import ArchiveStore
from agentbus.storage.port import Store
from agentbus.workers.archive.rewriting import rewrite_head, rewriting
from agentbus.workers.delivery.inputs import Inputs
from agentbus.workers.domain.redaction import emptied, is_erased, tombstone
from agentbus.workers.erasure.search import all_sessions

_TRIES: Final = 5


async def erase_whole(
    store: Store, archive: ArchiveStore | None, commands: Inputs, clock: Clock, conversation: ConversationId
) -> None:
    """Erase a conversation with all its sessions. Idempotent.

    Raises ReplyTimeout, BusError, ArchiveUnavailable, LockTimeout.
    """
    await _mark(store, commands, conversation)
    for session in await _clear(store, clock, conversation):
        if archive:
            await archive.delete(session)


async def _clear(store: Store, clock: Clock, conversation: ConversationId) -> list[SessionId]:
    """Take away what is left of the erased session and of those before it; return them."""
    async with rewriting(store, conversation) as log:
        heads = await all_sessions(store, conversation)
        last = max((head for head in heads if is_erased(head)), key=lambda head: head.generation, default=None)
        if last is None:
            return []
        generation = last.generation
        # The owner left the latest head as it should be, unless the session was deleted before it was erased.
        await rewrite_head(store, conversation, lambda now: tombstone(now) if is_erased(now) else now, clock)
        gone = [head for head in heads if head.generation <= generation]
        await store.heads.save([tombstone(head) for head in gone if head != tombstone(head) and head != heads[-1]])
        await log.change(lambda commit: emptied(commit, generation), last=last.version)
    return [head.session_id for head in gone]


async def _mark(store: Store, commands: Inputs, conversation: ConversationId) -> None:
    """Let the conversation's owner make its latest session a tombstone, whichever that is by then."""
    for _ in range(_TRIES):
        head = await _latest(store, conversation)
        if head is None or is_erased(head):
            return
        command = EraseConversation(session_id=head.session_id)
        key = digest_of(("erase", head.session_id, str(head.sequence), str(head.version)))
        try:
            await commands.ask(Input(InputId(key), command))
        except (SessionNotCurrent, SessionNotFound):
            continue  # It has moved on since.
        else:
            return
    raise EditConflict(f"conversation {conversation} moved on each time it was to be erased: try again")


async def _latest(store: Store, conversation: ConversationId) -> SessionState | None:
    return (await store.log.load([conversation]))[conversation].head
