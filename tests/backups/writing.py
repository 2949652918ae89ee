"""`python -m tests.backups.writing URL SESSIONS`: messages that come in while a backup is made, until SIGTERM."""

import asyncio
import signal
import sys
from random import Random
from typing import Final

from agentbus.contracts.events import Commit, MessageAppended
from agentbus.contracts.ids import ConversationId, InputId, MessageKey, session_id_for
from agentbus.contracts.messages import Role, SessionMessage, TextContent
from agentbus.contracts.session import SessionState
from agentbus.storage.factory import open_store
from agentbus.storage.port import Store
from agentbus.workers.domain.evolve import heads_along, replay
from tests.migrations.sessions import conversation_of

_PAUSE: Final = 0.05
"""Seconds between two messages: what comes in, beside a backup on the same two cores."""


async def add_message(store: Store, one: ConversationId, text: str) -> None:
    """Append a message to a conversation, as its owner does: the commit first, then the head."""
    loaded = (await store.log.load([one]))[one]
    before = replay(loaded.head or SessionState.empty(one), loaded.commits)
    version, session = before.version + 1, session_id_for(one, before.generation)
    message = SessionMessage(
        key=MessageKey(f"late-{version}"),
        message_id=f"late-{version}",
        role=Role.USER,
        sent_at=before.last_activity or before.created_at,
        content=TextContent(text=text),
    )
    at = before.last_activity or before.created_at
    assert at is not None
    cause = InputId(f"late:{version}")
    event = MessageAppended(session_id=session, sequence=before.sequence + 1, at=at, cause=cause, message=message)
    commit = Commit(conversation_id=one, version=version, epoch=before.epoch, at=at, inputs=(cause,), events=(event,))
    assert await store.log.append([commit]) == [None]
    *_, head = heads_along(before, [commit])
    await store.heads.save([head])


async def main(url: str, sessions: int) -> None:
    """Write until SIGTERM."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    random, written = Random(sessions), 0
    async with open_store(url) as store:
        while not stop.is_set():
            await add_message(store, conversation_of(random.randrange(sessions)), f"while it is backed up {written}")
            written += 1
            await asyncio.sleep(_PAUSE)
    sys.stdout.write(f"{written}\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
