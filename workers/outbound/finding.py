"""Finding open replies that no event told of: all sessions are looked at from time to time, by one instance for all."""

from datetime import datetime, timedelta
from typing import Final

from agentbus.contracts.clock import Clock
from agentbus.contracts.errors import StoreDamaged
from agentbus.contracts.history import SessionFilter
from agentbus.contracts.ids import ConversationId
from agentbus.contracts.replies import ReplyState
from agentbus.storage.damage import tell
from agentbus.storage.port import Store
from agentbus.workers.domain.replies import open_replies, waiting_replies
from agentbus.workers.outbound.outbox import Outbox
from agentbus.workers.reactive.time_loop import Share

PAGE: Final = 500
EVERY: Final = timedelta(hours=1)
"""Between two times that all are looked at."""


class OpenReplies:
    """Looks at the heads of all sessions, a page a turn: at the start, and every hour.

    Replies are found by their events, which come at least once; this is for what was asked for before the first
    outbound worker ran, or is in a store that was restored or copied.
    """

    def __init__(self, store: Store, share: Share, outbox: Outbox, clock: Clock) -> None:
        self._store = store
        self._share = share
        self._outbox = outbox
        self._clock = clock
        self._cursor: str | None = None
        self._next: datetime | None = None

    async def turn(self) -> bool:
        """Look at a page, if it is time; return whether there is more."""
        if not self._share.leads or (self._next is not None and self._clock.now() < self._next):
            return False
        page = await self._store.heads.page(SessionFilter(), limit=PAGE, cursor=self._cursor)
        found = [head.conversation_id for head in page.items if open_replies(head) or waiting_replies(head)]
        await self._take_up(found)
        self._cursor = page.cursor
        self._next = None if page.cursor else self._clock.now() + EVERY
        return page.cursor is not None

    async def _take_up(self, conversations: list[ConversationId]) -> None:
        """Have the replies of conversations sent, or listed, that are open by their logs."""
        for conversation in conversations:
            try:
                state = await self._outbox.state_of(conversation)
            except StoreDamaged as damage:
                tell(damage)  # the others' replies are found all the same
                continue
            for reply in open_replies(state):
                if reply.state is ReplyState.UNKNOWN:
                    await self._outbox.ask_somebody(reply, "")
        await self._outbox.look_at(conversations)
