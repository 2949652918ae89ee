"""A way to append, in a process of its own: asked by lines of JSON, and answering by such lines.

It is of the standard library alone: the others' environment has nothing of ours.
"""

import asyncio
import gc
import json
import sys
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Way:
    """A way to append messages to sessions, opened."""

    append: Callable[[str, str], Awaitable[object]]
    """Appends a text to the session of a name; on return it is kept."""
    texts: Callable[[str], Awaitable[list[str]]]
    """Returns the texts of a session in their order."""
    durability: str
    """What is on the disk when an append returns."""


def serve(opened: AbstractAsyncContextManager[Way]) -> None:
    """Do what standard input asks for, until it ends."""
    asyncio.run(_serve(opened))


async def _serve(opened: AbstractAsyncContextManager[Way]) -> None:
    async with opened as way:
        _answer({"durability": way.durability})
        while line := await asyncio.to_thread(sys.stdin.readline):
            asked: dict[str, Any] = json.loads(line)
            if "texts" in asked:
                _answer({"texts": await way.texts(asked["texts"])})
            else:
                _answer(await _timed(way, asked["session"], asked["say"]))


async def _timed(way: Way, session: str, texts: Iterable[str]) -> dict[str, Any]:
    """Append texts one after the other; return for each how long it took, in ms, and the processor time of all."""
    gc.collect()
    took: list[float] = []
    used = time.process_time()
    for text in texts:
        begun = time.perf_counter()
        await way.append(session, text)
        took.append(1000 * (time.perf_counter() - begun))
    return {"ms": took, "cpu_ms": 1000 * (time.process_time() - used)}


def _answer(what: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()
