"""The programs that embed AgentBus, from outside: started, told what to call, killed, and ended in good order."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from agentbus.contracts.envelope import EventEnvelope
from agentbus.testing import QueueLeft
from tests.chaos.embedded.program_main import LONGEST_LINE
from tests.harness.processes import ROOT
from tests.harness.warm import Process, begin

PATIENCE: Final = 90.0
STOPPING: Final = 30.0
"""Seconds within which a program ends in good order, whatever its disk does: 5 for what is in hand, the closes, and 5
for the calls that were under way."""

_POLL: Final = 0.01


class Gone(Exception):
    """The program died, or is about to end."""


class Silent(Exception):
    """A call did not end in its time: neither with a result nor with an error."""


@dataclass(frozen=True, slots=True)
class Answer:
    """How a call ended."""

    seconds: float
    value: Any = None
    error: str | None = None
    """The code of an error of ours, or the name of another's class; `cancelled` for a call that was cancelled."""
    words: str = ""


class Program:
    """A program that runs, or ran."""

    def __init__(
        self, name: str, process: Process, asks: asyncio.WriteTransport, tells: asyncio.StreamReader, log: Path
    ) -> None:
        self.name = name
        self.log = log
        self.events: list[EventEnvelope] = []
        self.up = asyncio.Event()
        self._process = process
        self._asks = asks
        self._tells = tells
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._asked = 0
        self._ending = False
        self._reading = asyncio.create_task(self._read())

    @property
    def takes_calls(self) -> bool:
        """Whether it is there, works, and was not told to end."""
        return self.up.is_set() and not self._reading.done() and not self._ending

    async def ask(self, call: str, *, within: float, cancelled_after: float | None = None, **given: Any) -> Answer:
        """Have a call made. Raises Gone; Silent if it does not end `within` seconds."""
        if not self.takes_calls:
            raise Gone
        self._asked += 1
        number = self._asked
        asked = {"number": number, "call": call, "cancelled_after": cancelled_after, **given}
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        self._writes(asked)
        try:
            async with asyncio.timeout(within):
                found = await answer
        except TimeoutError:
            raise Silent(f"{self.name}: {call} neither returned nor failed within {within:g} s") from None
        finally:
            del self._waiting[number]
        if self._ending and "error" in found:
            raise Gone
        return Answer(found["seconds"], found.get("value"), found.get("error"), found.get("words", ""))

    def said(self, action: str) -> bool:
        """Whether its log has a line of an action."""
        return f'"event": "{action}"' in self.log.read_text("utf-8", errors="replace")

    async def ready(self) -> None:
        """Wait until it takes calls. Raises RuntimeError if it ends instead, TimeoutError."""
        up = asyncio.create_task(self.up.wait())
        try:
            await asyncio.wait({up, self._reading}, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
        finally:
            up.cancel()
        if not self.up.is_set():
            raise RuntimeError(f"{self.name} does not begin: {self.log.read_text('utf-8', errors='replace')[-2000:]}")

    async def gone(self) -> None:
        """Wait until it has died. Raises TimeoutError."""
        async with asyncio.timeout(PATIENCE):
            await self._ended()
            await asyncio.wait({self._reading})
        self._asks.close()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    async def kill(self) -> None:
        """SIGKILL it, if it is there."""
        self._process.kill()
        await self.gone()

    async def stop(self) -> float:
        """Let it end in good order; return in how many seconds it did. Raises Silent, RuntimeError if it failed."""
        self._ending = True
        begun = time.monotonic()
        self._asks.close()
        try:
            async with asyncio.timeout(STOPPING):
                await self._ended()
        except TimeoutError:
            await self.kill()
            raise Silent(f"{self.name} did not end within {STOPPING:g} s") from None
        await asyncio.wait({self._reading})
        if self._process.returncode:
            raise RuntimeError(f"{self.name} ended with {self._process.returncode}: see {self.log}")
        return time.monotonic() - begun

    async def left(self) -> list[QueueLeft]:
        """Return what the queues of its bus hold. Raises Gone, Silent."""
        answer = await self.ask("left", within=PATIENCE)
        return [QueueLeft(f"{self.name}: {queue}", ready, unacked) for queue, ready, unacked in answer.value]

    async def _ended(self) -> None:
        while self._process.poll() is None:
            await asyncio.sleep(_POLL)

    def _writes(self, asked: Mapping[str, Any]) -> None:
        self._asks.write(json.dumps(asked).encode() + b"\n")

    async def _read(self) -> None:
        try:
            while line := await self._tells.readline():
                self._take(json.loads(line))
        except ValueError:
            pass  # it was killed in the middle of a line
        finally:
            for waiting in self._waiting.values():
                if not waiting.done():
                    waiting.set_exception(Gone())

    def _take(self, told: dict[str, Any]) -> None:
        if "ready" in told:
            self.up.set()
        elif "event" in told:
            self.events.append(EventEnvelope.model_validate(told["event"]))
        elif (waiting := self._waiting.get(told["number"])) and not waiting.done():
            waiting.set_result(told)


class Programs:
    """Starts programs over one storage, and ends those that are left."""

    def __init__(self, folder: Path, config: Mapping[str, Any], env: Mapping[str, str]) -> None:
        self.folder = folder
        self.all: list[Program] = []
        self._env = {"CHAOS_CONFIG": json.dumps(config), "HARNESS_FOLDER": str(folder), **env}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for one in self.all:
            await one.kill()

    @property
    def running(self) -> list[Program]:
        """Those that take calls."""
        return [one for one in self.all if one.takes_calls]

    async def start(self) -> Program:
        """Start one and wait until it takes calls. Raises RuntimeError, TimeoutError."""
        name = f"p{len(self.all) + 1}"
        log = self.folder / f"{name}.log"
        loop = asyncio.get_running_loop()
        asked, asks = os.pipe()
        tells, told = os.pipe()
        try:
            with log.open("wb") as errors:
                process = begin(
                    ["-m", "tests.chaos.embedded.program_main"],
                    cwd=ROOT,
                    env={**os.environ, **self._env, "HARNESS_WORKER": name},
                    stdin=asked,
                    stdout=told,
                    stderr=errors.fileno(),
                )
        except BaseException:
            os.close(asks)
            os.close(tells)
            raise
        finally:
            os.close(asked)
            os.close(told)
        writing, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, os.fdopen(asks, "wb", 0))
        reader = asyncio.StreamReader(limit=LONGEST_LINE)
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(tells, "rb", 0))
        one = Program(name, process, writing, reader, log)
        self.all.append(one)
        await one.ready()
        return one
