"""The heads, encrypted."""

from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime

from agentbus.contracts.errors import StoreDamaged, StoreError
from agentbus.contracts.history import Page, SessionFilter, SessionSummary
from agentbus.contracts.ids import SessionId
from agentbus.contracts.records import SessionStatistics
from agentbus.contracts.session import SessionState
from agentbus.storage.damage import readable
from agentbus.storage.encryption.coder import Coder, page_of, read
from agentbus.storage.port import Heads, Store

Save = Callable[[Sequence[SessionState]], Awaitable[list[StoreError | None]]]


class EncryptedHeads(Heads):
    """The section of the heads. They are listed, searched and due by what stays readable."""

    def __init__(self, store: Store, coder: Coder) -> None:
        self._store = store
        self._coder = coder

    @property
    def flushes(self) -> bool:
        return self._store.heads.flushes

    async def save(self, heads: Sequence[SessionState]) -> list[StoreError | None]:
        return await self._encrypted(heads, self._store.heads.save)

    async def write(self, heads: Sequence[SessionState]) -> list[StoreError | None]:
        return await self._encrypted(heads, self._store.heads.write)

    async def flush(self, heads: Sequence[SessionState]) -> None:
        if self.flushes:
            # Encrypted, too: those that were lost are saved again.
            kept = await self._coder.encrypt_heads(heads)
            await self._store.heads.flush([one for one in kept if isinstance(one, SessionState)])

    async def _encrypted(self, heads: Sequence[SessionState], save: Save) -> list[StoreError | None]:
        kept = await self._coder.encrypt_heads(heads)
        outcome: list[StoreError | None] = [one if isinstance(one, StoreDamaged) else None for one in kept]
        places = [place for place, refused in enumerate(outcome) if refused is None]
        sound = [one for one in kept if isinstance(one, SessionState)]
        for place, refused in zip(places, await save(sound) if sound else (), strict=True):
            outcome[place] = refused
        return outcome

    async def get(self, session: SessionId) -> SessionState | None:
        head = await self._store.heads.get(session)
        return None if head is None else read((await self._coder.decrypt_heads([head]))[0])

    async def get_many(self, sessions: Collection[SessionId]) -> dict[SessionId, SessionState]:
        found = await self._store.heads.get_many(sessions)
        return {head.session_id: head for head in await self._readable(list(found.values()))}

    async def page(self, where: SessionFilter, *, limit: int = 50, cursor: str | None = None) -> Page[SessionState]:
        page = await self._store.heads.page(where, limit=limit, cursor=cursor)
        return Page(items=tuple(await self._readable(page.items)), cursor=page.cursor)

    async def summaries(
        self, where: SessionFilter, *, limit: int = 50, cursor: str | None = None
    ) -> Page[SessionSummary]:
        return await self._store.heads.summaries(where, limit=limit, cursor=cursor)

    async def due(self, before: datetime, *, limit: int) -> list[SessionState]:
        return await self._readable(await self._store.heads.due(before, limit=limit))

    async def scan(self, *, limit: int, cursor: str | None = None) -> Page[SessionState]:
        page = await self._store.heads.scan(limit=limit, cursor=cursor)
        found = await self._coder.decrypt_heads(page.items)
        return await page_of(page, found, lambda limit: self._store.heads.scan(limit=limit, cursor=cursor))

    async def statistics(self, where: SessionFilter) -> SessionStatistics:
        return await self._store.heads.statistics(where)

    async def _readable(self, heads: Sequence[SessionState]) -> list[SessionState]:
        return readable(await self._coder.decrypt_heads(heads), read)
