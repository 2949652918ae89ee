"""One run: sessions are made, backed up while messages come in, changed, backed up again, killed, and compared."""

import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from agentbus.contracts.backup import SessionMark
from agentbus.contracts.ids import ConversationId
from agentbus.storage.backup import BackupReader, SessionDigests, open_backups
from agentbus.storage.backup.lines import SESSIONS
from agentbus.storage.backup.writing import FILE_BYTES
from agentbus.storage.factory import open_store
from agentbus.storage.port import Store
from agentbus.workers.store_parts import LogReader
from tests.backups.writing import add_message
from tests.harness.processes import ROOT
from tests.migrations.run import peak_mb
from tests.migrations.sessions import TOGETHER as FILLED_TOGETHER
from tests.migrations.sessions import conversation_of, fill_beside, fill_sessions

CHANGED: Final = 100
"""One session of so many is changed before the incremental backup."""
TOGETHER: Final = 32
"""Conversations that are restored to an empty store together, a commit of each by one append."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command that was run to its end."""

    told: Mapping[str, Any]
    seconds: float
    processor: float
    """Seconds of a processor."""
    peak_mb: float


@dataclass(frozen=True, slots=True)
class Figures:
    """What a run came to."""

    sessions: int
    messages: int
    came_in: int
    """Messages that came in while the first backup was made."""
    full: Command
    incremental: Command
    verified: Command
    resumed: Command
    """The backup that was killed, run again."""
    killed_once: bool
    restored: Command
    """A restore to an empty store, killed halfway and run again."""
    same: bool
    """Whether each session's digest is that of the store's log, up to the version of the backup; in the store that it
    was restored to as well."""

    @property
    def bytes_share(self) -> float:
        """What the incremental backup wrote, of what the full one did."""
        return float(self.incremental.told["written"] / self.full.told["written"])

    @property
    def time_share(self) -> float:
        """How long the incremental backup took, of what the full one did."""
        return self.incremental.seconds / self.full.seconds

    @property
    def processor_share(self) -> float:
        """How long it kept a processor, of what the full one did."""
        return self.incremental.processor / self.full.processor


def run(folder: Path, sessions: int, form: str) -> Figures:
    """Make, back up, change, kill and compare so many sessions."""
    store, place = f"sqlite:///{folder}/sessions.db", f"file://{folder}/backups"
    asyncio.run(filled(store, sessions))
    with _messages(store, sessions) as came_in:
        full = _run("create", "--store", store, "--to", place, "--format", form)
    caught_up = _run("create", "--store", store, "--to", place, "--format", form, "--incremental")
    asyncio.run(changed(store, sessions))
    incremental = _run("create", "--store", store, "--to", place, "--format", form, "--incremental")
    assert incremental.told["base"] == caught_up.told["backup_id"]
    same = asyncio.run(same_as_in(store, place, incremental.told["backup_id"]))
    halfway = max(1, int(full.told["size"]) // FILE_BYTES // 2)
    killed_once = killed(halfway, "create", "--store", store, "--to", f"{place}-again", "--format", form)
    resumed = _run("create", "--store", store, "--to", f"{place}-again", "--format", form)
    same &= asyncio.run(same_as_in(store, f"{place}-again", resumed.told["backup_id"]))
    target, backup_id = f"sqlite:///{folder}/restored.db", resumed.told["backup_id"]
    where = ("--store", target, "--to", f"{place}-again")
    appends = resumed.told["commits"] // TOGETHER
    killed_once &= killed(max(1, appends // 2), "restore", backup_id, *where)
    restored = _run("restore", backup_id, *where)
    same &= asyncio.run(same_as_in(target, f"{place}-again", backup_id))
    verified = _run("verify", "--to", place)
    _run("verify", "--to", f"{place}-again")
    return Figures(
        sessions=sessions,
        messages=full.told["messages"],
        came_in=came_in[0],
        full=full,
        incremental=incremental,
        verified=verified,
        resumed=resumed,
        killed_once=killed_once,
        restored=restored,
        same=same,
    )


async def filled(url: str, sessions: int) -> None:
    """Write so many sessions into a new store: a share of them by each of a few processes, where that is quicker."""
    shares = _shares_of(sessions)
    async with open_store(url) as store:
        await fill_beside(store, sessions)
        if shares == 1:
            await fill_sessions(store, sessions)
            return
    ended = await _side_by_side(shares, "tests.backups.filling", url, str(sessions))
    assert not any(ended), f"the processes that were to write sessions ended with {ended}"


def _shares_of(sessions: int) -> int:
    """Return how many processes do what there is to do with so many sessions."""
    return min(os.cpu_count() or 1, max(1, sessions // FILLED_TOGETHER))


async def _side_by_side(shares: int, program: str, *arguments: str) -> list[int]:
    """Run a program for each share, all at the same time; return what they ended with."""
    command = [sys.executable, "-m", program, *arguments]
    started = [
        await asyncio.create_subprocess_exec(*command, str(share), str(shares), cwd=ROOT) for share in range(shares)
    ]
    return [await process.wait() for process in started]


async def changed(url: str, sessions: int) -> None:
    """Add a message to one session of a hundred."""
    async with open_store(url) as store:
        for number in range(0, sessions, CHANGED):
            await add_message(store, conversation_of(number), "one more")


async def same_as_in(url: str, place: str, backup_id: str) -> bool:
    """Hold each session of a backup to the store's log, up to the version that it is of."""
    backups = open_backups(place)
    shares = _shares_of((await backups.manifest(backup_id)).counts.conversations)
    if shares == 1:
        return await share_is_same(url, place, backup_id, 0, 1)
    return not any(await _side_by_side(shares, "tests.backups.comparing", url, place, backup_id))


async def share_is_same(url: str, place: str, backup_id: str, share: int, shares: int) -> bool:
    """Do so with one share of the sessions: others do so with the other shares."""
    backups = open_backups(place)
    reader = BackupReader(backups, await backups.manifest(backup_id))
    seen = 0
    async with open_store(url) as store:
        async for entry in reader.entries(SESSIONS):
            seen += 1
            version = int(entry.stamp.partition(".")[0])
            if seen % shares == share and entry.sessions != await _marks(store, entry.key, version):
                return False
    return seen == reader.manifest.counts.conversations


async def _marks(store: Store, key: str, version: int) -> tuple[SessionMark, ...]:
    digests = SessionDigests()
    log = LogReader(store, ConversationId(key), last=version)
    while commit := await log.following():
        digests.add(commit)
    return digests.marks()


@contextmanager
def _messages(url: str, sessions: int) -> Iterator[list[int]]:
    """Let messages come in; give, in the end, how many did."""
    came_in = [0]
    arguments = [sys.executable, "-m", "tests.backups.writing", url, str(sessions)]
    with subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        yield came_in
        process.send_signal(signal.SIGTERM)
        assert process.stdout is not None
        came_in[0] = int(process.stdout.read())
    assert process.returncode == 0, f"the writer ended with {process.returncode}"


def _run(command: str, *arguments: str) -> Command:
    return _measured("-m", "agentbus", "backup", command, *arguments, "--json")


def _measured(*arguments: str) -> Command:
    begun, used = time.monotonic(), _processor_of_children()
    # Into a file: nobody reads a pipe while the memory is watched, and a restore tells of many sessions.
    with tempfile.TemporaryFile("w+") as told:
        command = [sys.executable, *arguments]
        with subprocess.Popen(command, cwd=ROOT, stdout=told, stderr=subprocess.DEVNULL, text=True) as process:
            peak = peak_mb(process)
        assert process.returncode == 0, f"{' '.join(arguments)} ended with {process.returncode}"
        told.seek(0)
        seconds, processor = time.monotonic() - begun, _processor_of_children() - used
        return Command(json.load(told), round(seconds, 1), round(processor, 1), peak)


def _processor_of_children() -> float:
    """Return for how many seconds the processes that have ended kept a processor."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def killed(writes: int, command: str, *arguments: str, **environment: str) -> bool:
    """Run a command of `agentbus backup` that is killed when it has written so often; return whether it was."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.backups.dying", str(writes), "backup", command, *arguments],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    return done.returncode == -signal.SIGKILL
