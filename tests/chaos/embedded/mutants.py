"""Mutants: programs in which what keeps the promises of the embedded mode is turned off."""

import asyncio
from collections.abc import Sequence
from enum import StrEnum

from agentbus.contracts.errors import StoreError
from agentbus.contracts.events import Commit
from agentbus.contracts.session import SessionState
from agentbus.storage.port import Store
from tests.harness.failpoints import patch

_LATE = 0.5


class EmbeddedMutant(StrEnum):
    """What is turned off."""

    APPEND_FIRST = "append_before_return"
    """Commits are said to be kept at once, and written half a second later."""


def mutate(store: Store, mutant: EmbeddedMutant) -> None:
    """Turn a mechanism off."""
    assert mutant is EmbeddedMutant.APPEND_FIRST
    commit = store.log.commit
    writing: set[asyncio.Task[None]] = set()

    async def late(commits: Sequence[Commit], heads: Sequence[SessionState]) -> None:
        await asyncio.sleep(_LATE)
        await commit(commits, heads)

    async def at_once(commits: Sequence[Commit], heads: Sequence[SessionState]) -> tuple[list[StoreError | None], None]:
        task = asyncio.create_task(late(commits, heads))
        writing.add(task)
        task.add_done_callback(writing.discard)
        return [None] * len(commits), None

    patch(store.log, commit=at_once)
