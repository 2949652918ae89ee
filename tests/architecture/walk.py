"""`python -m tests.architecture.walk`: which files and functions a message, and a `create_session`, pass through.

In one process, from the call to the answer, with all that goes on beside it: see docs/inside.md.
"""

import argparse
import asyncio
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Final

from agentbus.contracts.address import Address
from agentbus.contracts.messages import InboundMessage, TextContent
from agentbus.sessions import SessionSystem
from agentbus.sessions.config import make_config

_ROOT: Final = Path(__file__).resolve().parents[2]
_SETTLED: Final = 2.5
"""Seconds after which a system has taken over its partitions."""
_COMMITTED: Final = 0.3
"""Seconds within which a message is committed, announced and acknowledged."""


@dataclass(slots=True)
class Walk:
    """The functions that were called, in the order of their first calls."""

    stations: dict[tuple[str, str], int] = field(default_factory=dict)
    """A file and a function in it, and how often it was called."""

    @property
    def files(self) -> set[str]:
        """The files that they are in."""
        return {file for file, _ in self.stations}


@contextmanager
def walking() -> Iterator[Walk]:
    """Note the functions of ours that are called in the body, in whichever task, but no comprehensions and lambdas."""
    walk = Walk()

    def note(frame: FrameType, event: str, _argument: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(f"{_ROOT}/agentbus/") and not code.co_name.startswith("<"):
            station = code.co_filename.removeprefix(f"{_ROOT}/agentbus/"), code.co_qualname
            walk.stations[station] = walk.stations.get(station, 0) + 1

    sys.setprofile(note)
    try:
        yield walk
    finally:
        sys.setprofile(None)


async def walks() -> dict[str, Walk]:
    """Return the walk of a `create_session`, and that of a message that begins a session."""
    async with SessionSystem(make_config(enable_cleanup=False)) as system:
        await system.create_session("first", "ann", "web")
        await asyncio.sleep(_SETTLED)
        with walking() as created:
            await system.create_session("second", "ann", "web")
        where = Address(platform="web", chat="third", user="ann")
        said = InboundMessage(address=where, message_id="1", sent_at=datetime.now(UTC), content=TextContent(text="Hi"))
        with walking() as message:
            await system._engine.client.publish(said)
            await asyncio.sleep(_COMMITTED)
    return {"create_session": created, "message": message}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print them."""
    parser = argparse.ArgumentParser(prog="python -m tests.architecture.walk", description=__doc__)
    parser.add_argument("--stations", action="store_true", help="print each function, in the order of the first calls")
    given = parser.parse_args(arguments)
    for name, walk in asyncio.run(walks()).items():
        told = [f"{name}: {len(walk.files)} files, {len(walk.stations)} functions, {sum(walk.stations.values())} calls"]
        if given.stations:
            told += [f"  {file}: {function}" for file, function in walk.stations]
        sys.stdout.write("\n".join(told) + "\n")


if __name__ == "__main__":
    main()
