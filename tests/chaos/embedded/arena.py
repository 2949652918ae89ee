"""Programs that embed AgentBus on one storage, under load."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from random import Random
from typing import Any, Final

from agentbus.contracts.events import Commit
from agentbus.contracts.ids import ConversationId, InputId, SessionId, conversation_of
from agentbus.contracts.topology import Topology
from agentbus.sessions import StorageType
from agentbus.storage.factory import open_store
from agentbus.storage.port import Store
from agentbus.testing import Evidence, Published, QueueLeft, Verdict, check, read_evidence
from agentbus.workers.tracking.catch_up import Tracker
from agentbus.workers.tracking.rebuilding import Rebuilding, Rebuilt
from tests.chaos.embedded.calls import Calls, Terms
from tests.chaos.embedded.disks import small_disk
from tests.chaos.embedded.programs import PATIENCE, Programs
from tests.chaos.system.arena import Injection, NotRecovered
from tests.harness.plain_figures import kept_figures, plain_figures
from tests.harness.system.load import Load, Shape

_RECOVERY_SECONDS: Final = 60.0
_POLL: Final = 0.02


class Storage(StrEnum):
    """Where sessions are kept."""

    MEMORY = "memory"
    SQLITE = "sqlite"
    FILES = "files"


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedLayout:
    """What an arena of the embedded mode consists of."""

    storage: Storage
    programs: int = 1
    partitions: int = 4
    shape: Shape = field(default_factory=lambda: Shape(rate=60, users_per_partition=2))
    terms: Terms = field(default_factory=Terms)
    small_disk: bool = False
    announced: bool = True
    """Whether one program lives through it all, and so hears every event."""
    tracked: bool = False
    """Whether programs keep figures, which are held against the logs in the end."""
    env: dict[str, str] = field(default_factory=dict)


@dataclass
class EmbeddedArena:
    """What a fault finds, and what is seen of it."""

    layout: EmbeddedLayout
    disk: Path
    """The folder that everything is kept in."""
    programs: Programs
    calls: Calls
    load: Load
    random: Random
    sessions: dict[SessionId, InputId] = field(default_factory=dict)
    """Every session, and the request that created it."""
    problems: list[str] = field(default_factory=list)

    @property
    def database(self) -> Path:
        """The file of a SQLite database."""
        return self.disk / "sessions.db"

    @property
    def folder(self) -> Path:
        """The folder of a store in files."""
        return self.disk / "sessions"

    async def recovered(self, injection: Injection) -> list[float]:
        """Wait until a call that began after the fault returned in every conversation; return after how long each did.

        Raises NotRecovered.
        """
        missing = {conversation_of(session) for session in self.sessions}
        seconds: list[float] = []
        seen = 0
        while missing:
            if time.monotonic() - injection.at > _RECOVERY_SECONDS:
                raise NotRecovered(f"{len(missing)} conversations did not go on within {_RECOVERY_SECONDS:g} s")
            for one in self.calls.done[seen:]:
                seen += 1
                if one.conversation in missing and one.begun >= injection.at:
                    missing.remove(one.conversation)
                    seconds.append(one.at - injection.at)
            await asyncio.sleep(_POLL)
        return seconds

    async def verdict(self) -> tuple[Verdict, Evidence]:
        """End the load and the programs, and check what they left."""
        if not self.programs.running:
            await self.programs.start()  # so that the calls under way have somebody to make them
        await self.load.stop()
        queues = await self._empty()
        commits = await self._commits() if self.layout.storage is Storage.MEMORY else None
        for program in self.programs.running:
            await program.stop()
        begun = [Published(conversation_of(session), request) for session, request in self.sessions.items()]
        published = [*begun, *self.load.published]
        events = [event for program in self.programs.all for event in program.events]
        seen: dict[str, Any] = {"queues": queues, "events": events if self.layout.announced else None}
        if commits is not None:
            evidence = Evidence(published=published, commits=commits, **seen)
        else:
            async with open_store(_url(self)) as store:
                evidence = await read_evidence(store, published, **seen)
                if self.layout.tracked:
                    self.problems += await _miscounted(store, evidence.commits)
        return check(evidence), evidence

    async def _empty(self) -> list[QueueLeft]:
        """Wait until nothing is in hand in any program, or for as long as anyone would; return what is left."""
        deadline = time.monotonic() + PATIENCE
        while True:
            left = [one for program in self.programs.running for one in await program.left()]
            if time.monotonic() > deadline or not any(one.ready or one.unacked for one in left):
                return left
            await asyncio.sleep(_POLL)

    async def _commits(self) -> dict[ConversationId, list[Commit]]:
        """Read the log where nobody else can: from the program that has it in memory."""
        (program,) = self.programs.running
        found: dict[ConversationId, list[Commit]] = {}
        for conversation in map(conversation_of, self.sessions):
            answer = await program.ask("log", within=PATIENCE, conversation=conversation)
            found[conversation] = [Commit.model_validate(one) for one in answer.value]
        return found


@asynccontextmanager
async def embedded_arena(layout: EmbeddedLayout, folder: Path, seed: str) -> AsyncIterator[EmbeddedArena]:
    """Build an arena, start programs and load, and wait until everything flows."""
    random = Random(seed)
    disk = folder / "disk"
    disk.mkdir()
    async with AsyncExitStack() as stack:
        if layout.small_disk:
            stack.enter_context(small_disk(disk))
        env = {**layout.env, **({"CHAOS_ANNOUNCED": "1"} if layout.announced else {})}
        programs = await stack.enter_async_context(Programs(folder, _config(layout, disk), env))
        calls = Calls(programs, layout.terms, random)
        topology = Topology(partitions=layout.partitions)
        load = Load(calls, topology, layout.shape, random, sent_as=calls.sent_as)
        built = EmbeddedArena(layout, disk, programs, calls, load, random)
        for _ in range(layout.programs):
            await programs.start()
        for user in load.users:
            session = await calls.begin(user, f"begin-{user}")
            built.sessions[session] = InputId(f"begin-{user}")
        load.start()
        stack.push_async_callback(load.cancel)
        await built.recovered(Injection(time.monotonic()))
        yield built


def _config(layout: EmbeddedLayout, disk: Path) -> dict[str, Any]:
    kind, where = {
        Storage.MEMORY: (StorageType.MEMORY, {}),
        Storage.SQLITE: (StorageType.DATABASE, {"db_path": str(disk / "sessions.db")}),
        Storage.FILES: (StorageType.FILE, {"storage_dir": str(disk / "sessions")}),
    }[layout.storage]
    return {
        "storage_type": kind,
        "storage_config": where,
        "partitions": layout.partitions,
        "call_timeout": layout.terms.call_timeout,
        "enable_sync": True,
        "enable_expiry": True,
        "enable_tracking": layout.tracked,
        "cleanup_interval": 1.0,
    }


async def _miscounted(store: Store, logs: Mapping[ConversationId, Sequence[Commit]]) -> list[str]:
    """Let somebody follow the logs to their ends, and make all anew after that; return what is not as the logs say."""
    wanted = plain_figures(logs).as_dict()
    await Tracker(store).catch_up(list(logs))
    followed = (await kept_figures(store)).as_dict()
    [*_, rebuilt] = [progress async for progress in Rebuilding(store).run()]
    again = (await kept_figures(store)).as_dict()
    problems = [
        f"figures after {what} are not what the logs come to"
        for what, found in (("kills", followed), ("a rebuild", again))
        if found != wanted
    ]
    return problems + (
        [] if rebuilt == Rebuilt(conversations=len(logs)) else [f"a rebuild left something out: {rebuilt}"]
    )


def _url(built: EmbeddedArena) -> str:
    return f"sqlite:///{built.database}" if built.layout.storage is Storage.SQLITE else f"file://{built.folder}"
