"""The parked inputs in Redis."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from agentbus.contracts.errors import StoreDamaged, StoreUnavailable
from agentbus.contracts.history import Page
from agentbus.contracts.ids import ConversationId
from agentbus.contracts.parked import ParkedId, ParkedInput, ParkedStatus
from agentbus.storage.calls import end_well
from agentbus.storage.cancelling import finished
from agentbus.storage.paging import all_page, check_limit, name_after, parked_page, position_of
from agentbus.storage.port import LISTED_BODY, ParkedInputs
from agentbus.storage.redis.base import RedisDatabase, RedisSection
from agentbus.storage.redis.codec import PARKED, body_size, parked_details, parked_row, to_parked
from agentbus.storage.redis.documents import Documents, Found, Listing
from agentbus.storage.redis.layout import after_cursor, list_of, name_at

PIECE: Final = 4 * 1024 * 1024
"""Bytes of a piece of a body: while the server takes one, all others wait."""

_KEYS: Final = ("parked", "parked:rows", "parked:index", "parked:beginnings")
_READ: Final = ("parked", "parked:rows", "parked:beginnings")
_ATTEMPTS: Final = 5
"""How often an input is parked at most that others park and delete at the same time."""


@end_well(finished)
class RedisParked(RedisSection, ParkedInputs):
    """The section of the parked inputs."""

    def __init__(self, database: RedisDatabase) -> None:
        super().__init__(database)
        self._all = Documents(database, "parked:index", "parked:rows", _READ)

    async def put(self, parked: ParkedInput) -> None:
        keys = self._keys(parked.parked_id)
        given = (parked.parked_id, parked_details(parked), parked_row(parked))
        pieces = [*_pieces(parked.body)]
        for _ in range(_ATTEMPTS):
            # Most that are large are there already: it is not all sent for that.
            if pieces and await self._database.run("park", keys, *given):
                return
            await self._keep_rest(keys[-1], pieces)
            if await self._database.run("park", keys, *given, parked.body[:LISTED_BODY], len(pieces)):
                return
        raise StoreUnavailable(f"{self._database.target}: others park and delete the same input all the time")

    async def _keep_rest(self, key: str, pieces: Sequence[bytes]) -> None:
        """Keep what the record does not hold of a body. Before the record: whoever finds that finds all of it."""
        for number, piece in enumerate(pieces):
            await self._database.ask("HSET", key, number, piece)

    async def get(self, parked_id: ParkedId) -> ParkedInput | None:
        shard = self._database.layout.shard_of(parked_id)
        look = self._database.layout.keys(shard, *_READ)
        details, row, body = await self._database.run("look", look, parked_id)
        if row is None:
            return None
        size = body_size(parked_id, row)
        body = (body or b"") + await self._rest(self._keys(parked_id)[-1], size)
        if len(body) == size:
            return to_parked(parked_id, details, row, body)
        if (await self._database.run("look", look, parked_id))[1] is None:
            return None  # Deleted in between, there were no pieces any more.
        raise StoreDamaged(
            f"{self._database.target}: of parked input {parked_id} {len(body)} of {size} bytes are left: "
            "restore the store from a backup"
        )

    async def _rest(self, key: str, size: int) -> bytes:
        """Return what the record does not hold of a body."""
        count = -(-max(0, size - LISTED_BODY) // PIECE)
        return b"".join([await self._database.ask("HGET", key, number) or b"" for number in range(count)])

    async def page(
        self,
        status: ParkedStatus | None = None,
        *,
        conversation: ConversationId | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[ParkedInput]:
        check_limit(limit)
        chosen = PARKED if conversation is None else list_of("of", conversation)
        wanted: dict[str, Any] = {} if status is None else {"is": {"status": status.value}}
        listing = Listing(lists=[chosen], wanted=wanted, after=after_cursor(position_of("parked", cursor)))
        return parked_page(await self._all.first(listing, _listed, limit + 1), limit)

    async def ids(self, *, limit: int, cursor: str | None = None) -> Page[ParkedId]:
        check_limit(limit)
        after = name_after("parked ids", cursor)
        page = all_page("parked ids", await self._all.positions(Listing(lists=[PARKED]), after, limit + 1), limit, str)
        return Page(items=tuple(ParkedId(name_at(one)) for one in page.items), cursor=page.cursor)

    async def set_status(self, parked_id: ParkedId, status: ParkedStatus) -> bool:
        keys = self._database.layout.keys(self._database.layout.shard_of(parked_id), "parked:rows")
        return bool(await self._database.run("set_status", keys, parked_id, status.value))

    async def delete(self, parked_id: ParkedId) -> bool:
        return bool(await self._database.run("unpark", self._keys(parked_id), parked_id))

    def _keys(self, parked_id: ParkedId) -> list[str]:
        layout = self._database.layout
        shard = layout.shard_of(parked_id)
        return [*layout.keys(shard, *_KEYS), layout.key(shard, "parked:rest", parked_id)]


def _pieces(body: bytes) -> Iterator[bytes]:
    """Yield what the record does not hold of a body, in pieces."""
    for start in range(LISTED_BODY, len(body), PIECE):
        yield body[start : start + PIECE]


def _listed(found: Found) -> ParkedInput:
    position, [details, row, body] = found
    return to_parked(name_at(position), details, row, body)
