"""Documents and the lists that they are in, over all shards: each is walked along by a script, in its shard."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import merge
from itertools import islice
from typing import Any, Final, TypeVar

from pydantic import JsonValue

from agentbus.storage.damage import readable
from agentbus.storage.redis.base import RedisDatabase, together
from agentbus.storage.redis.codec import to_json
from agentbus.storage.redis.layout import name_at
from agentbus.storage.statistics import Tally

LOOKED_AT: Final = 1000
"""How many places a script looks at at most: others wait while it runs."""

_TAKEN: Final = 100
"""How many documents are read at once."""

_Item = TypeVar("_Item")
Found = tuple[str, list[bytes]]
"""A position, and what each of some hashes has of the document there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Which documents are listed, and in which list."""

    lists: Sequence[str]
    """Lists, as `list_of` gives them, each of which has all that is wanted; the shortest is walked along."""
    wanted: Mapping[str, JsonValue] = field(default_factory=dict)
    """What their rows have to say, as `lua/documents.lua` reads it; nothing for all of the list."""
    after: str = ""
    """The position after which they are."""
    before: str = ""
    """What their positions have to be below, or empty."""
    id_prefix: str = ""
    """What ids begin with that is not said in positions."""


@dataclass(frozen=True, slots=True)
class Documents:
    """Documents of one sort."""

    database: RedisDatabase
    index: str
    """The name of their index."""
    rows: str
    """The name of the hash of their rows."""
    hashes: tuple[str, ...]
    """The names of the hashes with what they are."""
    owner: Callable[[str], str] = str
    """What says by an id in which shard it is."""

    async def first(self, listing: Listing, read: Callable[[Found], _Item], count: int) -> list[_Item]:
        """Return the first `count` that are listed and can be read; damaged ones are passed over."""
        found: list[_Item] = []
        after = listing.after
        while len(found) < count:
            positions = await self.positions(listing, after, count - len(found))
            if not positions:
                break
            found += readable(await self._taken(listing, positions), read)
            after = positions[-1]
        return found

    async def every(self, listing: Listing, count: int) -> list[Found]:
        """Return the first `count` that are listed, as they are kept: damaged ones too."""
        found: list[Found] = []
        after = listing.after
        while len(found) < count and (positions := await self.positions(listing, after, count - len(found))):
            found += await self._taken(listing, positions)
            after = positions[-1]
        return found

    async def positions(self, listing: Listing, after: str, count: int) -> list[str]:
        """Return the first `count` positions after one."""
        shards = range(self.database.layout.shards)
        parts = await together(self._positions_in(shard, listing, after, count) for shard in shards)
        return list(islice(merge(*parts, key=str.encode), count))

    async def _positions_in(self, shard: int, listing: Listing, after: str, count: int) -> list[str]:
        found: list[str] = []
        while True:
            after, positions = await self._walk("find", shard, listing, after, count - len(found))
            found += [position.decode() for position in positions]
            if not after or len(found) >= count:
                return found

    async def sums(self, listing: Listing) -> list[Tally]:
        """Return what is listed, added up by status in each shard."""
        shards = range(self.database.layout.shards)
        return [tally for part in await together(self._sums_in(shard, listing) for shard in shards) for tally in part]

    async def _sums_in(self, shard: int, listing: Listing) -> list[Tally]:
        found: list[Tally] = []
        after = listing.after
        while True:
            after, told = await self._walk("sum", shard, listing, after, 1)
            for status, *numbers in zip(*[iter(told)] * 4, strict=True):
                found.append(Tally(status.decode(), *map(int, numbers)))
            if not after:
                return found

    async def _walk(
        self, script: str, shard: int, listing: Listing, after: str, count: int
    ) -> tuple[str, Sequence[bytes]]:
        keys = self.database.layout.keys(shard, self.index, self.rows)
        wanted = to_json(listing.wanted) if listing.wanted else ""
        bounds = (after, listing.before, count, LOOKED_AT, listing.id_prefix, wanted)
        last, found = await self.database.run(script, keys, *bounds, *listing.lists)
        return last.decode(), found

    async def _taken(self, listing: Listing, positions: Sequence[str]) -> list[Found]:
        """Return what is at positions; without those that have left them, and are at others now."""
        layout = self.database.layout
        named = ((self.owner(listing.id_prefix + name_at(position)), position) for position in positions)
        parts = await together(
            self._taken_in(shard, listing, of_shard) for shard, of_shard in layout.by_shard(named).items()
        )
        return sorted((found for part in parts for found in part), key=lambda found: found[0].encode())

    async def _taken_in(self, shard: int, listing: Listing, positions: Sequence[str]) -> list[Found]:
        keys = self.database.layout.keys(shard, self.index, *self.hashes)
        found: list[Found] = []
        for start in range(0, len(positions), _TAKEN):
            chosen = positions[start : start + _TAKEN]
            parts: list[Any] = await self.database.run("take", keys, listing.lists[0], listing.id_prefix, *chosen)
            found += [(position, part) for position, part in zip(chosen, parts, strict=True) if part]
        return found
