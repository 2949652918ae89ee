"""`python -m agentbus.testing.other_process URL`: another process on a store, which appends what it is told.

It reads lines from standard input: `append COMMIT` or `die COMMIT`, the commit as JSON. It answers each with the name
of the error that the append was refused with, or `None`; after `die` it appends, and kills itself before all else.
"""

import asyncio
import os
import signal
import sys

from agentbus.contracts.events import Commit
from agentbus.storage.factory import open_store

READY = "ready"
"""What it says once the store is open."""


async def main(url: str) -> None:
    """Do what standard input says until it ends."""
    async with open_store(url) as store:
        _say(READY)
        while line := await asyncio.to_thread(sys.stdin.readline):
            word, _, text = line.partition(" ")
            [refused] = await store.log.append([Commit.model_validate_json(text)])
            if word == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            _say(type(refused).__name__ if refused else "None")


def _say(words: str) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
