"""What a session worker has done before it says that it is there."""

import subprocess
import sys
from pathlib import Path

import agentbus

_PROGRAM = """
import asyncio
from agentbus.contracts.envelope import InputEnvelope
from agentbus.contracts.events import Commit
from agentbus.contracts.session import SessionState
from agentbus.contracts.topology import Topology
from agentbus.storage.memory import MemoryStore
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.session.worker import SessionWorker

KINDS = (InputEnvelope, SessionState, Commit)


def built():
    return [kind.__pydantic_complete__ for kind in KINDS]


async def main():
    async with MemoryBus(Topology(partitions=1)) as bus:
        await bus.declare()
        worker = SessionWorker(bus, MemoryStore())
        before = built()
        await worker.start()
        print(before, built())
        await worker.close()


asyncio.run(main())
"""


def test_the_first_message_waits_for_nothing_to_be_built() -> None:
    """A program of its own: here others have built it all long ago."""
    root = Path(agentbus.__file__).parents[1]
    done = subprocess.run([sys.executable, "-c", _PROGRAM], cwd=root, capture_output=True, text=True, check=True)
    assert "[False, False, False] [True, True, True]" in done.stdout
