"""Letting go of what was deleted: a server's files have it until they are written anew."""

import asyncio
from typing import Final

from agentbus.contracts.errors import StoreUnavailable
from agentbus.storage.redis.base import RedisDatabase
from agentbus.storage.redis.durability import told_by

PATIENCE: Final = 30.0
"""Seconds to wait for the end of a rewrite that began before."""

_LOOK_EVERY: Final = 0.02
"""Seconds from one look at it to the next, at first; each time twice as many."""


async def rewrite_files(database: RedisDatabase) -> None:
    """Have the servers write their append-only files anew, without what is not kept any more.

    They do it by themselves then. Raises StoreUnavailable while a rewrite that began before does not end. Where this
    user may not ask for it, as on hosted servers, it is done when the server does it.
    """
    wait = _LOOK_EVERY
    try:
        async with asyncio.timeout(PATIENCE):
            while any(str(one.get("aof_rewrite_in_progress")) == "1" for one in await _persistence(database)):
                await asyncio.sleep(wait)
                wait = min(1.0, 2 * wait)
    except TimeoutError:
        raise StoreUnavailable(
            f"{database.target}: what was deleted is still in its files, which it has been writing anew for more than "
            f"{PATIENCE:g} s, since before that: make the same call again"
        ) from None
    if any(str(one.get("aof_enabled")) == "1" for one in await _persistence(database)):
        # Refused, somebody else has asked just now: since what is deleted here was deleted.
        await database.ask_all("BGREWRITEAOF")


async def _persistence(database: RedisDatabase) -> list[dict[str, str]]:
    return told_by(await database.ask_all("INFO", "persistence"))
