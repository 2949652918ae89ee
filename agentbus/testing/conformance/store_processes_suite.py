"""The store contract of several processes: one store, opened by this one and by another, which is killed."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from agentbus.contracts.errors import VersionConflict
from agentbus.contracts.events import Commit
from agentbus.storage.port import Store
from agentbus.testing.builders import a_commit, a_conversation, a_head, appended, begun
from agentbus.testing.other_process import READY

WITHIN = 120.0
"""Seconds in which the other process answers: far above what it takes, since busy cores make all slow."""


class Other:
    """Another process on the same store."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def said(self) -> str:
        """Return the next line that it says."""
        assert self._process.stdout is not None
        async with asyncio.timeout(WITHIN):
            return (await self._process.stdout.readline()).decode().strip()

    async def append(self, commit: Commit) -> str:
        """Have it append a commit; return the name of the error that it was refused with, or `None`."""
        await self._tell("append", commit)
        return await self.said()

    async def append_and_die(self, commit: Commit) -> None:
        """Have it append a commit and be killed before anything follows."""
        await self._tell("die", commit)
        async with asyncio.timeout(WITHIN):
            assert await self._process.wait() == -9

    async def _tell(self, word: str, commit: Commit) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word} {commit.model_dump_json()}\n".encode())
        await self._process.stdin.drain()


@asynccontextmanager
async def other_process(url: str) -> AsyncIterator[Other]:
    """Run another process on the store at a URL; it is gone at the end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "agentbus.testing.other_process",
        url,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=2**24,
    )
    try:
        other = Other(process)
        assert await other.said() == READY
        yield other
    finally:
        assert process.stdin is not None
        process.stdin.close()
        async with asyncio.timeout(WITHIN):
            await process.wait()


class StoreProcessesSuite:
    """What every store must do that processes share. Subclasses define the fixtures `store` and `store_url`."""

    async def test_of_two_processes_one_wins_each_version_and_the_other_may_die(
        self, store: Store, store_url: str
    ) -> None:
        if not store.capabilities.is_shared:
            pytest.skip("it says that it is one process's own")
        one = a_conversation()
        won: list[Commit] = []
        async with other_process(store_url) as other:
            for version in range(1, 11):
                mine, theirs = (a_commit(one, version, inputs=[f"{who}-{version}"]) for who in ("mine", "theirs"))
                [refused], answer = await asyncio.gather(store.log.append([mine]), other.append(theirs))
                if refused is None:
                    assert answer == VersionConflict.__name__
                else:
                    assert (type(refused), answer) == (VersionConflict, "None")
                won.append(theirs if refused else mine)
                await store.heads.save([a_head(one, version=version)])
            assert await store.log.read(one, limit=100) == won

            # A crash between the append and the head.
            last = a_commit(one, 11, events=[begun(one), appended(one, 2, "m")])
            await other.append_and_die(last)

        loaded = (await store.log.load([one]))[one]
        assert loaded.head == a_head(one, version=10)
        assert loaded.commits == (last,)
        assert await store.log.append([a_commit(one, 12)]) == [None]
        assert await store.heads.save([a_head(one, version=12)]) == [None]
        assert (await store.log.load([one]))[one].commits == ()
