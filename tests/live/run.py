"""A run: servers, a session worker, an API that is killed in the middle, a crowd that follows it, and what was said."""

import asyncio
import json
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import psutil  # type: ignore[import-untyped]  # psutil ships no types

from agentbus.client import AgentBus, connect
from agentbus.contracts.address import Address, Platform, Scope, conversation_id_for
from agentbus.contracts.clock import SystemClock
from agentbus.contracts.ids import ConversationId, session_id_for
from agentbus.contracts.messages import InboundMessage, TextContent
from agentbus.storage.factory import open_store
from agentbus.storage.port import Store
from agentbus.storage.reading import iter_log
from agentbus.workers.following.journal import Journal
from tests.harness.processes import ROOT, Program, running_worker
from tests.harness.program import say
from tests.harness.system.backends import Services
from tests.live.told import Digest

_PARTITIONS: Final = 8


@dataclass(frozen=True, slots=True)
class Size:
    """How large a run is."""

    sessions: int = 5000
    """Each with a client that follows it from its beginning."""
    everything: int = 24
    """Clients that follow all events."""
    rate: float = 200.0
    """Messages a second."""
    seconds: float = 60.0
    patience: float = 300.0
    """Seconds that are waited for all to be connected, or to have got all."""
    settle: float = 5.0


QUICK: Final = Size(sessions=100, everything=4, rate=40.0, seconds=6.0, patience=120.0, settle=1.0)


def run(size: Size) -> dict[str, Any]:
    """Run it, and return what came out."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory() as folder, Services() as services, services.fresh() as backends:
        env = {
            "AGENTBUS_AMQP_URL": backends.amqp_url,
            "AGENTBUS_STORE_URL": backends.store_url,
            "AGENTBUS_PARTITIONS": str(_PARTITIONS),
            "AGENTBUS_API_RATE": "100000",
            "AGENTBUS_API_PORT": str(_free_port()),
        }
        return asyncio.run(_run(size, Path(folder), env))


async def _run(size: Size, folder: Path, env: dict[str, str]) -> dict[str, Any]:
    figures: dict[str, Any] = {"size": asdict(size)}
    with ExitStack() as stack:
        worker = folder / "worker"
        worker.mkdir()
        stack.enter_context(running_worker("session", folder=worker, env=env))
        api = _Api(folder, env)
        stack.callback(api.close)
        async with (
            connect(env["AGENTBUS_AMQP_URL"], partitions=_PARTITIONS) as bus,
            open_store(env["AGENTBUS_STORE_URL"]) as store,
        ):
            chats = [f"c{number}" for number in range(size.sessions)]
            begun = time.monotonic()
            await _say_in(bus, chats)
            await _committed(store, chats, 1, size.patience)
            figures["sessions_made_s"] = round(time.monotonic() - begun, 1)
            await asyncio.to_thread(api.start)
            figures["mb_before"] = api.megabytes()
            async with _crowd(size, env, chats) as (told, tell):
                begun = time.monotonic()
                connected = await told()
                figures["connected_s"] = round(time.monotonic() - begun, 1)
                figures["connected"] = connected["connected"]
                figures["mb_connected"] = api.megabytes()
                figures |= await _load(size, bus, chats, api)
                figures["mb_at_the_end"] = api.megabytes()
                begun = time.monotonic()
                wanted, journal = await _wanted(store, chats, size.patience, figures["said"])
                figures["journal"] = journal
                await tell(wanted | {"killed_ns": figures["killed_ns"]})
                figures["crowd"] = await told()
                figures["caught_up_s"] = round(time.monotonic() - begun - size.settle, 1)
    clients = size.sessions + size.everything
    figures["kib_per_client"] = round((figures["mb_connected"] - figures["mb_before"]) * 1024 / clients, 1)
    return figures


async def _load(size: Size, bus: AgentBus, chats: list[str], api: "_Api") -> dict[str, Any]:
    """Say things at a rate, whether or not those before have been confirmed, and kill the API in the middle."""
    total, killed = round(size.rate * size.seconds), 0
    begun = time.monotonic()
    killing: asyncio.Task[float] | None = None
    async with asyncio.timeout(size.seconds + size.patience), asyncio.TaskGroup() as saying:
        for number in range(total):
            await asyncio.sleep(begun + number / size.rate - time.monotonic())
            if number == total // 2:
                say("the API is killed")
                killed = time.monotonic_ns()
                killing = asyncio.create_task(asyncio.to_thread(api.kill_and_start))
            saying.create_task(bus.publish(_message(random.choice(chats), f"{number}")))
    took = time.monotonic() - begun
    assert killing
    return {"said": total, "rate": round(total / took, 1), "killed_ns": killed, "back_after_s": round(await killing, 1)}


class _Api:
    """The API, which is started again after it was killed."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self._folder = folder
        self._env = env
        self._stack = ExitStack()
        self._program: Program | None = None

    def start(self) -> None:
        self._program = self._stack.enter_context(running_worker("api", folder=self._folder, env=self._env))

    def kill_and_start(self) -> float:
        """Kill it, start another one, and return how many seconds nobody listened."""
        assert self._program
        begun = time.monotonic()
        os.kill(self._program.process.pid, signal.SIGKILL)
        self._program.process.wait()
        self.start()
        return time.monotonic() - begun

    def megabytes(self) -> float:
        assert self._program
        return round(float(psutil.Process(self._program.process.pid).memory_info().rss) / 1e6, 1)

    def close(self) -> None:
        self._stack.close()


@asynccontextmanager
async def _crowd(size: Size, env: dict[str, str], chats: list[str]) -> AsyncIterator[tuple[Any, Any]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.live.crowd",
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        limit=2**24,
    )
    assert process.stdin
    assert process.stdout
    out, into = process.stdout, process.stdin

    async def told() -> dict[str, Any]:
        async with asyncio.timeout(2 * size.patience):
            line = await out.readline()
        assert line, "the crowd is gone"
        found: dict[str, Any] = json.loads(line)
        return found

    async def tell(words: dict[str, Any]) -> None:
        into.write(json.dumps(words).encode() + b"\n")
        await into.drain()

    await tell(
        {
            "port": int(env["AGENTBUS_API_PORT"]),
            "sessions": [session_id_for(_conversation(chat), 1) for chat in chats],
            "everything": size.everything,
            "patience": size.patience,
            "settle": size.settle,
        }
    )
    try:
        yield told, tell
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _wanted(store: Store, chats: list[str], patience: float, said: int) -> tuple[dict[str, Any], dict[str, int]]:
    """Return what each client should have got, and whether the journal has each commit of the run once."""
    logs = await _committed(store, chats, None, patience, in_all=said + len(chats))
    sessions: dict[str, Digest] = {}
    named: dict[tuple[str, int], list[str]] = {}
    for chat in chats:
        conversation = _conversation(chat)
        digest = sessions[session_id_for(conversation, 1)] = Digest()
        async for commit in iter_log(store, conversation):
            named[conversation, commit.version] = [event.event_id for event in commit.events]
            for event in commit.events:
                digest.add(event.event_id)
    everything, twice = Digest(), 0
    seen: set[tuple[str, int]] = set()
    journal = Journal(store, SystemClock())
    late = {one for one in named if one[1] > 1}
    end = time.monotonic() + patience
    while True:
        pages = [await journal.page(number) or () for number in range(1, await journal.last() + 1)]
        listed = [(one.conversation, one.version) for page in pages for one in page]
        if late <= {*listed} or time.monotonic() > end:
            break
        await asyncio.sleep(0.5)
    for one in listed:
        twice += one in seen
        seen.add(one)
        for event_id in named[one]:
            everything.add(event_id)
    told = {
        "sessions": {name: digest.as_told() for name, digest in sessions.items()},
        "everything": everything.as_told(),
    }
    figures = {"pages": len(pages), "commits": len(listed), "twice": twice, "missing": len(late - seen), "logs": logs}
    return told, figures


async def _committed(store: Store, chats: list[str], each: int | None, patience: float, *, in_all: int = 0) -> int:
    """Wait until messages are committed: one in each chat, or so many in all; return how many there are."""
    end = time.monotonic() + patience
    while True:
        heads = [head for chat in chats if (head := await store.heads.get(session_id_for(_conversation(chat), 1)))]
        count = sum(head.message_count for head in heads)
        if (len(heads) == len(chats) if each else count >= in_all) or time.monotonic() > end:
            return count
        await asyncio.sleep(1)


async def _say_in(bus: AgentBus, chats: list[str]) -> None:
    for first in range(0, len(chats), 200):
        await bus.publish_many([_message(chat, "begin") for chat in chats[first : first + 200]])


def _address(chat: str) -> Address:
    return Address(platform=Platform.WEB, chat=chat, user="ada")


def _conversation(chat: str) -> ConversationId:
    return conversation_id_for(_address(chat), Scope.PER_CHAT_USER)


def _message(chat: str, name: str) -> InboundMessage:
    content = TextContent(text=str(time.monotonic_ns()) if name != "begin" else name)
    return InboundMessage(address=_address(chat), message_id=name, sent_at=datetime.now(UTC), content=content)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
