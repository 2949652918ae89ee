"""`python -m tests.backups.filling URL SESSIONS SHARE SHARES`: write a share of so many sessions into a store."""

import asyncio
import sys

from agentbus.storage.factory import open_store
from tests.migrations.sessions import fill_sessions


async def main(url: str, sessions: int, share: int, shares: int) -> None:
    """Write the share."""
    async with open_store(url) as store:
        await fill_sessions(store, sessions, share=share, shares=shares)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], *map(int, sys.argv[2:])))
