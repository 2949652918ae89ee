"""The heads in Redis."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Final

from agentbus.contracts.errors import StoreError, StoreRejected
from agentbus.contracts.history import Page, SessionFilter, SessionSummary
from agentbus.contracts.ids import SessionId, conversation_of
from agentbus.contracts.records import SessionStatistics
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.storage.calls import end_well
from agentbus.storage.cancelling import finished
from agentbus.storage.chunks import chunks
from agentbus.storage.damage import readable
from agentbus.storage.paging import check_limit, listed_at, name_after, position_of, scanned, sessions_page
from agentbus.storage.port import Heads
from agentbus.storage.redis.base import BATCH, RedisDatabase, RedisSection, batches, together, too_large
from agentbus.storage.redis.codec import DELETED, DUE, LISTED, LISTED_BY, head_row, tag_item, to_head, to_summary
from agentbus.storage.redis.documents import Documents, Found, Listing
from agentbus.storage.redis.layout import after_cursor, latest_first, list_of, name_at, up_to
from agentbus.storage.statistics import to_statistics

_KEYS: Final = ("heads", "heads:rows", "index")
_ALL: Final = (DELETED, LISTED)
"""The lists that have all heads, by their names."""
_NOT_DELETED: Final = {"status": SessionStatus.DELETED.value}


@end_well(finished)
class RedisHeads(RedisSection, Heads):
    """The section of the heads."""

    def __init__(self, database: RedisDatabase) -> None:
        super().__init__(database)
        self._all = Documents(database, "index", "heads:rows", ("heads",), owner=_conversation)

    async def save(self, heads: Sequence[SessionState]) -> list[StoreError | None]:
        outcome: list[StoreError | None] = [None] * len(heads)
        kept: list[tuple[str, tuple[str, str, str]]] = []
        for place, head in enumerate(heads):
            session, body = head.session_id, head.model_dump_json()
            outcome[place] = self._too_large(body)
            if outcome[place] is None:
                kept.append((head.conversation_id, (session, body, head_row(head))))
        shards = self._database.layout.by_shard(kept)
        await together(self._save(shard, of_shard) for shard, of_shard in shards.items())
        return outcome

    def _too_large(self, body: str) -> StoreRejected | None:
        return too_large(self._database.target, "head", len(body.encode()))

    async def _save(self, shard: int, heads: Sequence[tuple[str, str, str]]) -> None:
        keys = self._database.layout.keys(shard, *_KEYS)
        for batch in batches(heads, lambda one: len(one[1])):
            given = [part for one in batch for part in one]
            await self._database.run("put", keys, "unless_newer", *given)

    async def get(self, session: SessionId) -> SessionState | None:
        shard = self._database.layout.shard_of(conversation_of(session))
        body = await self._database.ask("HGET", self._database.layout.key(shard, "heads"), session)
        return None if body is None else to_head(session, body)

    async def get_many(self, sessions: Collection[SessionId]) -> dict[SessionId, SessionState]:
        shards = self._database.layout.by_shard((conversation_of(one), one) for one in sessions)
        found = [head for part in await together(self._read(*one) for one in shards.items()) for head in part]
        return {head.session_id: head for head in found}

    async def _read(self, shard: int, sessions: Sequence[SessionId]) -> list[SessionState]:
        found: list[SessionState] = []
        for chunk in chunks(sessions, BATCH):
            bodies = await self._database.ask("HMGET", self._database.layout.key(shard, "heads"), *chunk)
            there = [(session, body) for session, body in zip(chunk, bodies, strict=True) if body is not None]
            found += readable(there, lambda one: to_head(*one))
        return found

    async def page(self, where: SessionFilter, *, limit: int = 50, cursor: str | None = None) -> Page[SessionState]:
        check_limit(limit)
        listing = _listing(where, after_cursor(position_of("sessions", cursor)))
        return sessions_page(await self._all.first(listing, _head, limit + 1), limit)

    async def summaries(
        self, where: SessionFilter, *, limit: int = 50, cursor: str | None = None
    ) -> Page[SessionSummary]:
        check_limit(limit)
        listing = _listing(where, after_cursor(position_of("sessions", cursor)))
        return sessions_page(await self._all.first(listing, _summary, limit + 1), limit)

    async def due(self, before: datetime, *, limit: int) -> list[SessionState]:
        return await self._all.first(Listing(lists=[DUE], before=up_to(before)), _head, check_limit(limit))

    async def scan(self, *, limit: int, cursor: str | None = None) -> Page[SessionState]:
        check_limit(limit)
        after = name_after("heads", cursor)
        found: list[tuple[str, Found]] = []
        for one in _ALL:
            if one >= after or after.startswith(one):
                listing = Listing(lists=[one], after=after.removeprefix(one) if after.startswith(one) else "")
                found += [(one, kept) for kept in await self._all.every(listing, limit + 1 - len(found))]
        return scanned("heads", found, limit, lambda kept: kept[0] + kept[1][0], lambda kept: _head(kept[1]))

    async def statistics(self, where: SessionFilter) -> SessionStatistics:
        listing = _listing(where, "", summed=True)
        return to_statistics(await self._all.sums(listing))


def _place(head: SessionState) -> str:
    """Return the place of a head in the lists of all of them."""
    whole = DELETED if head.status is SessionStatus.DELETED else LISTED
    return whole + latest_first(listed_at(head), head.session_id)


def _conversation(session: str) -> str:
    return conversation_of(SessionId(session))


def _head(found: Found) -> SessionState:
    position, [body] = found
    return to_head(name_at(position), body)


def _summary(found: Found) -> SessionSummary:
    position, [body] = found
    return to_summary(name_at(position), body)


def _listing(where: SessionFilter, after: str, *, summed: bool = False) -> Listing:
    """Return the lists that have the heads that `where` selects, and what else holds for them."""
    fields = where.model_dump(mode="json", exclude_none=True, exclude={"tags"})
    tags = [tag_item(tag) for tag in where.tags]
    lists = [list_of(name, fields[name]) for name in LISTED_BY if name in fields]
    lists += [list_of("tag", tag) for tag in tags]
    lists += [list_of("conflicts")] if where.conflicts else []
    wanted: dict[str, Any] = {"is": fields} if fields else {}
    wanted |= {"tags": tags} if tags else {}
    if summed or (lists and where.status is None):
        wanted["not"] = _NOT_DELETED
    whole = DELETED if where.status is SessionStatus.DELETED else LISTED
    return Listing(lists=lists or [whole], wanted=wanted, after=after)
