"""A program that embeds AgentBus, and makes the calls that it is told to: a JSON object a line, on both sides.

`python -m tests.chaos.embedded.program_main`: CHAOS_CONFIG holds the fields of SessionSystemConfig, CHAOS_ANNOUNCED is
set if events are to be told, CHAOS_MUTANT names what is turned off. It ends in good order when its input does.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Coroutine
from typing import Any, Final

from agentbus.client import AgentBus
from agentbus.composition.app import make_bus
from agentbus.contracts.errors import AgentBusError
from agentbus.contracts.ids import ConversationId
from agentbus.contracts.messages import InboundMessage
from agentbus.logs import configure_logs
from agentbus.received import ReceivedEvent
from agentbus.sessions import SessionSystem, SessionSystemConfig, running
from agentbus.sessions.providers import store_for
from agentbus.settings import LogFormat, LogSettings, Settings
from agentbus.storage.port import Store
from agentbus.storage.reading import iter_log
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.bus.port import Bus
from tests.chaos.embedded.mutants import EmbeddedMutant, mutate
from tests.chaos.inside.instruments import instrument_bus, instrument_store, of_this_process
from tests.harness.failpoints import patch

LONGEST_LINE: Final = 64 * 1024 * 1024

_AFTERWARDS: Final = 5.0
"""Seconds within which a call ends whose system was stopped."""


class Program:
    """Makes the calls on one session system."""

    def __init__(self, system: SessionSystem) -> None:
        self._system = system
        self._client: AgentBus = system._engine.client
        self._calls: set[asyncio.Task[None]] = set()

    async def run(self, *, announced: bool) -> None:
        """Make calls side by side until the input ends."""
        if announced:
            self._client.on("session.#", durable="chaos", ordered=True)(self._tell_event)
            await self._client.start()
        _tell({"ready": True})
        reader = await _input()
        while line := await reader.readline():
            call = asyncio.create_task(self._answer(json.loads(line)))
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)
        await self._client.close()

    async def calls_ended(self) -> None:
        """Wait for the calls that were under way when the system was stopped. Raises TimeoutError: they wait on."""
        async with asyncio.timeout(_AFTERWARDS):
            while self._calls:
                await asyncio.wait(self._calls)

    async def _answer(self, asked: dict[str, Any]) -> None:
        number, call, after = asked.pop("number"), getattr(self, asked.pop("call")), asked.pop("cancelled_after")
        begun = time.monotonic()
        try:
            answer = {"value": await _within(call(**asked), after)}
        except asyncio.CancelledError:
            answer = {"error": "cancelled"}
        except AgentBusError as error:
            answer = {"error": error.code, "words": str(error)}
        except Exception as error:
            answer = {"error": type(error).__name__, "words": str(error)}
        _tell({"number": number, "seconds": time.monotonic() - begun, **answer})

    async def _tell_event(self, event: ReceivedEvent) -> None:
        _tell({"event": event.model_dump(mode="json")})

    async def begin(self, user: str, request_id: str) -> str:
        return (await self._system.create_session("lobby", user, "custom", request_id=request_id)).session_id

    async def add(self, session_id: str, text: str, message_id: str) -> None:
        await self._system.add_message(session_id, None, "user", text, message_id=message_id)

    async def publish(self, message: dict[str, Any]) -> None:
        await self._client.publish(InboundMessage.model_validate(message))

    async def lock(self, session_id: str) -> None:
        token = await self._system.acquire_lock(session_id)
        await self._system.release_lock(session_id, token)

    async def log(self, conversation: str) -> list[Any]:
        commits = iter_log(self._system._store, ConversationId(conversation))
        return [commit.model_dump(mode="json") async for commit in commits]

    async def left(self) -> list[tuple[str, int, int]]:
        bus = self._client._bus
        assert isinstance(bus, MemoryBus)
        return [
            (queue.queue.name, queue.ready, sum(len(consumer._unacked) for consumer in queue.consumers))
            for queue in bus._broker.queues
        ]


async def _within(call: Coroutine[Any, Any, Any], cancelled_after: float | None) -> Any:
    """Await a call, and cancel it if it takes longer: then it must end by that."""
    task = asyncio.create_task(call)
    await asyncio.wait({task}, timeout=cancelled_after)
    if not task.done():
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            raise RuntimeError(f"cancelled, it ended with {task.exception() or task.result()!r}")
    return await task


async def _input() -> asyncio.StreamReader:
    reader = asyncio.StreamReader(limit=LONGEST_LINE)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    return reader


def _tell(what: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def _instrumented() -> None:
    trace, points = of_this_process()
    mutant = os.environ.get("CHAOS_MUTANT")

    def instrumented_store(*given: Any) -> Store:
        store = store_for(*given)
        if mutant:
            mutate(store, EmbeddedMutant(mutant))
        return instrument_store(store, points, trace, append_delay=0)

    def instrumented_bus(settings: Settings) -> Bus:
        return instrument_bus(make_bus(settings), points)

    patch(running, store_for=instrumented_store, make_bus=instrumented_bus)


async def main() -> None:
    """Run the program."""
    configure_logs(LogSettings(log_format=LogFormat.JSON))
    _instrumented()
    config = SessionSystemConfig(**json.loads(os.environ["CHAOS_CONFIG"]))
    async with SessionSystem(config) as system:
        program = Program(system)
        await program.run(announced="CHAOS_ANNOUNCED" in os.environ)
    await program.calls_ended()


if __name__ == "__main__":
    asyncio.run(main())
