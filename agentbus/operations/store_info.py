"""What a store is, and what it holds."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

from agentbus.storage.port import Store, StoreInfo
from agentbus.workers.store_parts import Figures, figures_of

ALIVE: Final = 10.0
"""Seconds of silence after which a worker is taken for dead."""


@dataclass(frozen=True, slots=True)
class Description:
    """What is known of a store so far."""

    info: StoreInfo
    members: int
    """Workers that live."""
    figures: Figures

    def as_dict(self) -> dict[str, Any]:
        """Return it by name."""
        of_server = {"kind": self.info.kind, "version": self.info.version, "database": self.info.name or None}
        return of_server | {"server_time": self.info.server_time, "members": self.members} | self.figures.as_dict()


async def describe_store(store: Store) -> AsyncGenerator[Description, None]:
    """Read all that a store holds; yield what is known as it grows, and in the end all of it.

    Others may go on writing: the digest is then of no one moment. Raises StoreDamaged for what can't be read.
    """
    info = await store.info()
    members = len({one.worker_id for one in await store.members.everyone(ttl=ALIVE)})
    async with aclosing(figures_of(store)) as growing:
        async for figures in growing:
            yield Description(info, members, figures)
