"""What a process has for those who follow events: one of each, whatever their number."""

from collections.abc import Collection

from agentbus.contracts.clock import Clock
from agentbus.contracts.ids import SessionId
from agentbus.storage.port import Store
from agentbus.workers.bus.port import Bus
from agentbus.workers.concurrency import in_turn
from agentbus.workers.delivery.waking import Waking, Woken
from agentbus.workers.following.chronicler import TOPICS, Chronicler
from agentbus.workers.following.journal import Journal
from agentbus.workers.following.session_feed import SessionFeed
from agentbus.workers.following.tail import Tail


class Live:
    """The journal, who writes it, and what wakes those who wait. No client has anything of its own but a place."""

    def __init__(self, bus: Bus, store: Store, clock: Clock, *, secret_keys: Collection[str]) -> None:
        self.store = store
        self._secret_keys = frozenset(secret_keys)
        journal = Journal(store, clock)
        self.tail = Tail(store, journal, self._secret_keys)
        self.waking = Waking(bus, TOPICS, Woken, what="news for those who follow events", on_news=self.tail.heard)
        self._chronicler = Chronicler(bus, store, journal, written=self.tail.heard)

    @property
    def running(self) -> bool:
        """Whether those who follow hear of what happens."""
        return self.tail.running and self.waking.running and self._chronicler.running

    def feed(self, session: SessionId) -> SessionFeed:
        """Return what reads a session's events."""
        return SessionFeed(self.store, session, self._secret_keys)

    async def start(self) -> None:
        """Begin. Raises StoreError, BusError."""
        await self.tail.start()
        await self.waking.start()
        await self._chronicler.start()

    async def close(self) -> None:
        """Stop. Idempotent."""
        await in_turn(self._chronicler.close, self.waking.close, self.tail.close)
