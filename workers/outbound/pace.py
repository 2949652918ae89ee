"""The pace of sending: a budget for each chat and account, and what platforms said about waiting."""

from datetime import datetime, timedelta
from typing import Final

from agentbus.contracts.address import Address
from agentbus.contracts.clock import Clock
from agentbus.contracts.ids import digest_of
from agentbus.contracts.records import Record, RecordKind
from agentbus.storage.port import Store
from agentbus.workers.adapters.port import Capabilities

GROUP: Final = "held_back"
_MOST_REMEMBERED: Final = 10_000
_LONGEST: Final = timedelta(hours=24)
"""The longest that a platform may have us wait: what it says beyond that is not believed."""


class Pace:
    """Says how long to wait before the next message to a chat.

    What a platform said (429) is in the store: all instances obey it. The budget of an account is divided among the
    instances by the share of the partitions that each of them has; that of a chat is this instance's, as a chat's
    conversations are mostly in one partition: where they are not, the platform's word is what is left.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._next: dict[str, datetime] = {}

    async def pause(self, address: Address, can: Capabilities, *, share: float) -> timedelta:
        """Return how long to wait; nothing, and the message is counted, if it may go now.

        `share`: which part of the account's budget is this instance's, above 0 and up to 1.
        """
        now = self._clock.now()
        chat, account = chat_key(address), account_key(address)
        until = max(await self._held_until(chat, now), await self._held_until(account, now))
        until = max(until, self._next.get(chat, now), self._next.get(account, now))
        if until > now:
            return until - now
        self._count(chat, can.pace, now)
        self._count(account, can.account_pace * share if can.account_pace else None, now)
        return timedelta()

    async def is_free(self, address: Address) -> bool:
        """Whether a message to a chat might go now. Nothing is counted."""
        now = self._clock.now()
        chat, account = chat_key(address), account_key(address)
        if max(self._next.get(chat, now), self._next.get(account, now)) > now:
            return False
        return max(await self._held_until(chat, now), await self._held_until(account, now)) <= now

    async def hold_back(self, address: Address, seconds: float, *, account: bool) -> datetime:
        """Have all instances send nothing to a chat, or for an account, for so many seconds; return until when.

        Of several that were told so at about the same time the longest holds.
        """
        now = self._clock.now()
        key = account_key(address) if account else chat_key(address)
        until = now + min(timedelta(seconds=max(0.0, seconds)), _LONGEST)
        if (known := await self._held_until(key, now)) >= until:
            return known
        record = Record(kind=RecordKind.HELD_BACK, key=key, group=GROUP, created_at=now, data={}, due_at=until)
        await self._store.records.put(record)
        return until

    async def forget(self) -> None:
        """Take away what platforms said about times that are over."""
        now = self._clock.now()
        over = await self._store.records.due(RecordKind.HELD_BACK, now, limit=100)
        await self._store.records.drop(over)

    async def _held_until(self, key: str, now: datetime) -> datetime:
        record = await self._store.records.get(RecordKind.HELD_BACK, key)
        return record.due_at if record and record.due_at else now

    def _count(self, key: str, rate: float | None, now: datetime) -> None:
        if rate:
            self._next[key] = now + timedelta(seconds=1 / rate)
        if len(self._next) > _MOST_REMEMBERED:
            self._next = {one: until for one, until in self._next.items() if until > now}


def account_key(address: Address) -> str:
    """Return what an account's waiting is kept under."""
    return digest_of(("account", address.platform, address.account))


def chat_key(address: Address) -> str:
    """Return what a chat's waiting is kept under."""
    return digest_of(("chat", address.platform, address.account, address.chat))
