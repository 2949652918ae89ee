"""Where a store keeps what. A key is `<prefix>:{<shard>}:<what>`, and what is written as one is in one shard.

A cluster keeps all keys with the same text in braces in one server, so that a script may use them together. A store has
a number of shards, one on a single server; a conversation, with all that is kept of it and the lists that it is in, is
in one of them. A list over all is put together from those of the shards.

log:<conversation>      hash of its commits: by version, the commit as JSON
order:<conversation>    sorted set of its versions
inputs:<conversation>   hash of its inputs: by input, the version of its commit
targets:<conversation>  sorted set of `<message><US><version>`: which commits amend a message
heads, heads:rows       hashes of the heads, by session: as JSON, and what scripts need of it (`lua/documents.lua`)
index                   sorted set of the places of heads in lists, and of all conversations
records, records:rows, records:index     the same for records, by `<kind><US><key>`
parked, parked:rows, parked:index        the same for parked inputs, without their bodies
parked:beginnings       hash of the beginnings of their bodies
parked:rest:<id>        hash of the pieces of the rest
members:<group>         hash of workers, by id; seen:<group> sorted set of their last heartbeats
epochs:<group>          hash of epochs, by partition
trial:<input>           set of the attempts at an input
lock:<name>             hash of a lock: its last token, and when its lease ends
names                   sorted set of `lock<US><name>`, `epochs<US><group>`, `members<US><group>`: those there are
"""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeVar

from agentbus.contracts.ids import ConversationId
from agentbus.storage.paging import Position, to_milliseconds

US: Final = "\x1f"
"""Between the parts of an id or a place: no id holds a control character."""

LOCKS: Final = "lock"
EPOCHS: Final = "epochs"
MEMBERS: Final = "members"
"""What of their names is found again in `names`."""

LAYOUT_VERSION: Final = "1"
"""Of how keys are laid out; another one is not understood."""

_FIRST_YEAR: Final = 62_135_596_800_000
"""Milliseconds from the year 1 to 1970, so that no moment is negative."""
_DIGITS: Final = 15
_LAST: Final = 10**_DIGITS - 1

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class Layout:
    """The keys of a store."""

    prefix: str
    shards: int

    def shard_of(self, name: str) -> int:
        """Return the shard of a conversation, a record, a lock, and so on."""
        return zlib.crc32(name.encode()) % self.shards

    def key(self, shard: int, what: str, name: str | None = None) -> str:
        """Return a key of a shard."""
        return f"{self.prefix}:{{{shard}}}:{what}" if name is None else f"{self.prefix}:{{{shard}}}:{what}:{name}"

    def keys(self, shard: int, *what: str, of: str | None = None) -> list[str]:
        """Return several keys of a shard, each `of` something if that is given."""
        return [self.key(shard, one, of) for one in what]

    def of_conversation(self, conversation: ConversationId, *what: str) -> list[str]:
        """Return keys of a conversation."""
        return self.keys(self.shard_of(conversation), *what, of=conversation)

    def by_shard(self, items: Iterable[tuple[str, _Item]]) -> dict[int, list[_Item]]:
        """Return items by the shards of their names."""
        found: dict[int, list[_Item]] = {}
        for name, item in items:
            found.setdefault(self.shard_of(name), []).append(item)
        return found


def layout_key(prefix: str) -> str:
    """Return the key that says how a store is laid out."""
    return f"{prefix}:layout"


def list_of(*parts: str) -> str:
    """Return what the places of a list begin with."""
    return US.join(parts) + US


def name_of(what: str, name: str) -> str:
    """Return what stands in `names` for a lock or group."""
    return list_of(what) + name


def latest_first(moment: datetime, name: str) -> str:
    """Return a position in a list that begins with the latest, then goes by id."""
    return f"{_LAST - _since_first_year(moment):0{_DIGITS}d}{name}"


def earliest_first(moment: datetime, name: str) -> str:
    """Return a position in a list that begins with the earliest, then goes by id."""
    return f"{_since_first_year(moment):0{_DIGITS}d}{name}"


def up_to(moment: datetime) -> str:
    """Return what the positions up to a moment are below, in a list that begins with the earliest."""
    return f"{_since_first_year(moment) + 1:0{_DIGITS}d}"


def after_cursor(position: Position | None) -> str:
    """Return the position where a page of a list that begins with the latest ended; empty for the beginning."""
    return latest_first(*position) if position else ""


def name_at(position: str) -> str:
    """Return what is at a position."""
    return position[_DIGITS:]


def version_text(version: int) -> str:
    """Return a version as text that sorts as the number does."""
    return f"{version:020d}"


def _since_first_year(moment: datetime) -> int:
    return to_milliseconds(moment) + _FIRST_YEAR
