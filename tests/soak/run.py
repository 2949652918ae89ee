"""One run of the demonstration as a user starts it, with a limit; and processes that keep the cores busy meanwhile."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any, Final

LIMIT: Final = 60.0
"""Seconds within which the demonstration ends on a machine that has nothing else to do."""

HUNG: Final = 300.0
"""Seconds after which it is taken never to end, on any machine."""

_TELLING: Final = 5.0
"""Seconds that a program gets to say where it stands, before it is killed."""

_TAIL: Final = 4_000
"""Characters of what a bad run said that are kept."""

_DEMO: Final = (sys.executable, "-X", "faulthandler", "-m", "agentbus", "demo", "--json")
_COMPLAINT: Final = re.compile(
    r"\[(?:warning|error|critical) *\]|^(?:WARNING|ERROR|CRITICAL):|Traceback|never retrieved|was destroyed",
    re.MULTILINE,
)
_BUSY: Final = "import sys, time\nend = time.monotonic() + float(sys.argv[1])\nwhile time.monotonic() < end: pass"


class Ending(StrEnum):
    """How a run ended."""

    HELD = "held"
    """By itself, in time, nothing lost, duplicated or reordered, and nothing complained of."""
    SLOW = "slow"
    """As well, but later than `LIMIT`."""
    HUNG = "hung"
    """Not at all."""
    FAILED = "failed"
    """With an error, or having complained."""


@dataclass(frozen=True, slots=True)
class Run:
    """What one run came to."""

    busy: bool
    seconds: float
    ending: Ending
    said: str = ""
    """The end of what it said, if it was not all well."""
    load: float = field(default_factory=lambda: round(os.getloadavg()[0], 1))
    """How many programs wanted a core, on average over the last minute: ours and everybody else's."""

    @property
    def good(self) -> bool:
        """Whether it ended by itself with everything right, in whatever time."""
        return self.ending in {Ending.HELD, Ending.SLOW}

    def as_dict(self) -> dict[str, Any]:
        """Return it for a file of results."""
        told = {"busy": self.busy, "load": self.load, "seconds": self.seconds, "ending": self.ending}
        return {**told, "said": self.said} if self.said else told


@dataclass(frozen=True, slots=True)
class Demo:
    """A demonstration that was started."""

    process: subprocess.Popen[bytes]
    output: IO[bytes]
    complaints: IO[bytes]
    began: float

    def result(self, *, busy: bool = False, limit: float = LIMIT, hung: float = HUNG) -> Run:
        """Wait for its end, at most until `hung` seconds after its start, and judge it."""
        try:
            code = self.process.wait(max(0.0, self.began + hung - time.monotonic()))
        except subprocess.TimeoutExpired:
            seconds = time.monotonic() - self.began
            self._let_it_tell()
            return Run(busy, round(seconds, 2), Ending.HUNG, _read(self.complaints)[-_TAIL:])
        seconds = round(time.monotonic() - self.began, 2)
        said = _read(self.complaints)
        if code == 0 and not _COMPLAINT.search(said) and _nothing_amiss(_read(self.output)):
            return Run(busy, seconds, Ending.HELD if seconds <= limit else Ending.SLOW)
        return Run(busy, seconds, Ending.FAILED, f"exit code {code}\n{said}{_read(self.output)}"[-_TAIL:])

    def end(self) -> None:
        """Kill it, if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def _let_it_tell(self) -> None:
        """Have a program that hangs print where its threads stand, which ends it."""
        self.process.send_signal(signal.SIGABRT)
        try:
            self.process.wait(_TELLING)
        except subprocess.TimeoutExpired:
            self.end()


@contextmanager
def demo(*, rounds: int | None = None, command: tuple[str, ...] = _DEMO) -> Iterator[Demo]:
    """Start `agentbus demo`, as long as it is by itself or with `rounds`; it does not outlive the block."""
    chosen = () if rounds is None else ("--rounds", str(rounds))
    with TemporaryDirectory() as folder:
        output, complaints = Path(folder, "output"), Path(folder, "complaints")
        with output.open("w+b") as out, complaints.open("w+b") as err:
            process = subprocess.Popen([*command, *chosen], cwd=folder, stdout=out, stderr=err)
            started = Demo(process, out, err, time.monotonic())
            try:
                yield started
            finally:
                started.end()


@contextmanager
def busy_cores(seconds: float) -> Iterator[None]:
    """Keep every core busy within the block, and for no longer than `seconds` if nobody ends it."""
    with ExitStack() as ends:
        for _ in os.sched_getaffinity(0):
            process = subprocess.Popen([sys.executable, "-c", _BUSY, str(seconds)])
            ends.callback(process.wait)
            ends.callback(process.kill)
        yield


def run_demo(*, busy: bool) -> Run:
    """Run the demonstration to its end, alone or with every core kept busy."""
    with ExitStack() as meanwhile:
        if busy:
            meanwhile.enter_context(busy_cores(HUNG + _TELLING))
        return meanwhile.enter_context(demo()).result(busy=busy)


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode("utf-8", errors="replace")


def _nothing_amiss(output: str) -> bool:
    told = json.loads(output)
    return bool(told["published"]) and not any(told[check] for check in ("lost", "duplicated", "reordered"))
