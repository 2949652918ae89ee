"""Moving along: each move is `agentbus store migrate`, a process of its own; one is killed, and begun again."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from agentbus.storage.factory import open_store
from tests.harness.processes import ROOT
from tests.migrations.sessions import fill
from tests.services import (
    MongoDB,
    RedisServer,
    SqlServer,
    shared_mariadb,
    shared_mongodb,
    shared_postgresql,
    shared_redis,
)

_LOOKS: Final = 0.05
"""Seconds between two looks at the memory of a process."""

_COPYING: Final = "copied: commits"
"""What a migration prints when it is in the middle of it."""


@dataclass(frozen=True, slots=True)
class Place:
    """A store on the way."""

    name: str
    url: str


@dataclass(frozen=True, slots=True)
class Move:
    """A store that was moved."""

    source: str
    target: str
    killed: bool
    seconds: float
    peak_mb: float
    """The most memory that the process had; of the two, the one that was killed and the other."""
    digest: str


@dataclass(frozen=True, slots=True)
class Journey:
    """All moves of some sessions, from a store back to one of the same kind."""

    sessions: int
    messages: int
    digest: str
    """Of all sessions and histories at the beginning."""
    moves: Sequence[Move]
    end: str
    """Their digest at the end."""

    @property
    def same(self) -> bool:
        """Whether what there is at the end, and was on the way, is what there was."""
        return {self.digest} == {self.end, *(move.digest for move in self.moves)}


@contextmanager
def servers() -> Iterator[Callable[[Path], list[Place]]]:
    """Start the servers; give what makes the places of a journey, with new databases on them."""
    with ExitStack() as stack:
        started: dict[str, MongoDB | SqlServer | RedisServer] = {
            "MongoDB": shared_mongodb(),
            "PostgreSQL": shared_postgresql(),
            "MariaDB": shared_mariadb(),
            "Redis": shared_redis(),
        }
        for server in started.values():
            stack.enter_context(server)

        def places(folder: Path) -> list[Place]:
            made = [Place(name, stack.enter_context(server.fresh_database())) for name, server in started.items()]
            return [*embedded(folder)[:1], *made, *embedded(folder)[1:]]

        yield places


def embedded(folder: Path) -> list[Place]:
    """Return the places that need no server."""
    return [
        Place("SQLite", f"sqlite:///{folder}/first.db"),
        Place("files", f"file://{folder}/files"),
        Place("SQLite", f"sqlite:///{folder}/last.db"),
    ]


async def prepare(place: Place, sessions: int) -> None:
    """Write sessions into the first store of a journey."""
    async with open_store(place.url) as store:
        await fill(store, sessions)


def travel(places: Sequence[Place], killed: str, say: Callable[[str], None]) -> Journey:
    """Move what the first place holds to the next, and so on to the last; the move to `killed` is killed once."""
    before = _told("info", places[0].url)
    moves: list[Move] = []
    for source, target in pairwise(places):
        moves.append(_move(source, target, kill=target.name == killed))
        say(f"{source.name} to {target.name}: {moves[-1].seconds} s, {moves[-1].peak_mb} MB")
    after = _told("info", places[-1].url)
    same = all(before[name] == after[name] for name in before if name != "server_time")
    end = after["digest"] if same else f"other figures: {after}"
    return Journey(before["sessions"], before["messages"], before["digest"], moves, end)


def _move(source: Place, target: Place, *, kill: bool) -> Move:
    begun = time.monotonic()
    peaks = [kill_halfway(source, target)] if kill else []
    process = _started("migrate", source.url, target.url)
    with process:
        assert process.stdout is not None
        peaks.append(peak_mb(process))
        told = process.stdout.read()
    assert process.returncode == 0, f"{source.name} to {target.name}: it ended with {process.returncode}"
    return Move(
        source=source.name,
        target=target.name,
        killed=kill,
        seconds=round(time.monotonic() - begun, 1),
        peak_mb=max(peaks),
        digest=json.loads(told)["digest"],
    )


def kill_halfway(source: Place, target: Place) -> float:
    """Kill a migration in the middle of it; return the most memory that it had."""
    process = _started("migrate", source.url, target.url, stderr=subprocess.PIPE)
    with process:
        assert process.stderr is not None
        said = next((line for line in process.stderr if line.startswith(_COPYING)), "nothing")
        peak = most_mb(process)
        process.kill()
        process.wait()
    assert (said.startswith(_COPYING), process.returncode) == (True, -9), f"it said {said}, {process.returncode}"
    return peak


def _started(command: str, *arguments: str, stderr: int | None = None) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "agentbus", "store", command, *arguments, "--json", "--wait", "30"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL if stderr is None else stderr,
        text=True,
    )


def _told(command: str, url: str) -> Mapping[str, Any]:
    with (process := _started(command, url)):
        assert process.stdout is not None
        told = process.stdout.read()
    assert process.returncode == 0, f"agentbus store {command} {url} ended with {process.returncode}"
    answer: Mapping[str, Any] = json.loads(told)
    return answer


def peak_mb(process: "subprocess.Popen[str]") -> float:
    """Wait for the end of a process, which says little; return the most memory that it had at once, in MB."""
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, most_mb(process))
        time.sleep(_LOOKS)
    return peak


def most_mb(process: "subprocess.Popen[str]") -> float:
    """Return the most memory that a process had so far, in MB; 0 if it has ended.

    Of its own: what `wait4` tells is at least what its parent had when it was forked.
    """
    with suppress(FileNotFoundError, ProcessLookupError):
        for line in Path(f"/proc/{process.pid}/status").read_text("utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return round(int(line.split()[1]) / 1024, 1)
    return 0.0
