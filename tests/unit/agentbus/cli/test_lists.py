"""Every command that lists or shows things says their ids in full: in a pipe, and on a terminal of 80 columns.

The cases are held against the tree of commands: a new command needs a case here, or its name among those that have
nothing to list.
"""

import asyncio
import fcntl
import os
import struct
import sys
import termios
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest
import structlog
import typer

from agentbus.cli import app
from agentbus.contracts.clock import SystemClock
from agentbus.contracts.parked import ParkedInput
from agentbus.contracts.session import SessionStatus
from agentbus.operations.api_keys import Role, create_key
from agentbus.sessions import SessionSystem, SyncMode, SyncPolicy
from agentbus.sessions.config import make_config
from agentbus.storage.archive import open_archive
from agentbus.storage.backup import open_backups
from agentbus.storage.factory import open_store
from agentbus.testing.conformance.store_shared_suite import a_conflict
from agentbus.workers.archive.index import archived_session, put_index
from agentbus.workers.archive.storing import write_archive
from tests.harness.backups import backed_up
from tests.harness.builders import NOON, a_commit, a_conversation, a_head, a_member, a_parked, appended
from tests.harness.cli import whole_command_line
from tests.harness.outbound import in_doubt
from tests.harness.patience import PATIENCE

COLUMNS: Final = 80

LONG_WORKER: Final = "worker-of-a-host-with-a-long-name.example.org-12345-0a1b2c3d"
REASON: Final = "a reason that is long: " + "and longer " * 30 + "\n\twith a second line"

RULES: Final = """
[[rules]]
rule_id = "a-rule-of-a-long-name-that-somebody-chose-to-tell-it-from-others"
name = "Too old"
strategy = "time"
conditions = { max_age = 0.001 }
actions = ["notify", { action = "expire", after = 3600 }]
"""

NOTHING_TO_LIST: Final = {
    "api-keys create",
    "api-keys revoke",
    "archive delete",
    "archive restore",
    "backup create",  # what `backup show` prints
    "backup prune",  # counts
    "backup restore",  # what became of each session: test_export.py
    "backup verify",  # faults: test_backup.py
    "contracts export",
    "demo",  # a table, of the same kind, after a minute's work
    "doctor",  # findings
    "erase",  # says counts, and whom it is about: tested with its own world
    "events tail",  # a line an event: tests/e2e/test_cli.py
    "export",
    "expiry rules add",
    "expiry rules disable",
    "expiry rules enable",
    "expiry rules remove",
    "expiry stats",  # counts by rule
    "identity confirm",
    "identity link",  # what `identity show` prints
    "identity unlink",
    "import",
    "parked discard",
    "parked replay",
    "parked replay-conversation",
    "predict",  # chances of one session
    "publish",
    "replay",
    "replies resolve",
    "sessions unblock",
    "stats",  # figures
    "store encrypt",  # says counts
    "store keys list",  # needs keys: test_keys.py
    "store keys new",
    "store keys rotate",  # says counts
    "store migrate",  # counts
    "sync policy",
    "sync resolve",
    "sync run",
    "topology declare",
    "topology repartition",
    "tracking assess",  # figures
    "up",  # where everything is: tests/e2e/test_up.py
    "tracking machine",  # a diagram
    "tracking rebuild",  # counts
    "worker",
    "workers hand-back",
}
"""Commands that do something, and say so in a sentence or in counts."""


@dataclass
class World:
    """What there is to list."""

    folder: Path
    sessions: list[str] = field(default_factory=list)
    parked: list[ParkedInput] = field(default_factory=list)
    archived: str = ""
    backup: str = ""
    conflicting: str = ""
    unknown: str = ""
    api_key: str = ""

    @property
    def store(self) -> str:
        return f"sqlite:///{self.folder}/sessions.db"

    @property
    def backups(self) -> str:
        return f"file://{self.folder}/backups"

    @property
    def archive(self) -> str:
        return f"file://{self.folder}/archive"


@dataclass
class Case:
    """A command's arguments, and what it has to say in full."""

    ids: Callable[[World], list[str]]
    arguments: Callable[[World], list[str]] = lambda _: []


CASES: Final[Mapping[str, Case]] = {
    "api-keys list": Case(lambda it: [it.api_key]),
    "archive list": Case(lambda it: [it.archived]),
    "archive show": Case(lambda it: [it.archived], lambda it: [it.archived]),
    "archive verify": Case(lambda it: [it.archived]),
    "backup list": Case(lambda it: [it.backup]),
    "backup show": Case(lambda it: [it.backup], lambda it: [it.backup]),
    "expiry rules list": Case(lambda _: [RULES.split('"')[1]]),
    "expiry run": Case(lambda it: [*it.sessions[2:4], RULES.split('"')[1]], lambda _: ["--dry-run"]),
    "identity code": Case(lambda it: [it.sessions[0]], lambda it: [it.sessions[0]]),
    "identity show": Case(lambda it: it.sessions[:2], lambda _: ["ann"]),
    "identity suggestions": Case(lambda it: it.sessions[2:4]),
    "parked list": Case(lambda it: [one.parked_id for one in it.parked]),
    "parked show": Case(lambda it: [it.parked[0].parked_id], lambda it: [it.parked[0].parked_id]),
    "replies list": Case(lambda it: [it.unknown]),
    "sessions history": Case(lambda _: ["hello"], lambda it: [it.sessions[0]]),
    "sessions list": Case(lambda it: it.sessions),
    "sessions show": Case(lambda it: [it.sessions[0]], lambda it: [it.sessions[0]]),
    "store check": Case(lambda it: [it.conflicting]),  # of which there is a head alone
    "store info": Case(lambda _: ["sqlite"]),
    "sync conflicts": Case(lambda it: [it.conflicting, a_conflict().source]),
    "sync history": Case(lambda it: [it.sessions[0]], lambda it: ["--session", it.sessions[0]]),
    "topology show": Case(lambda _: ["agentbus.inbound.63"]),
    "workers list": Case(lambda _: [LONG_WORKER]),
}


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield every command that is no group, by its path."""
    children: Mapping[str, Any] = getattr(group, "commands", {})
    if not children:
        yield " ".join(path)
    for name, child in children.items():
        yield from commands(child, (*path, name))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    it = World(tmp_path_factory.mktemp("lists"))
    asyncio.run(_people(it))
    asyncio.run(_things(it))
    return it


async def _people(it: World) -> None:
    config = make_config(
        storage_type="DATABASE",
        storage_config={"db_path": str(it.folder / "sessions.db")},
        enable_sync=True,
        enable_cleanup=False,
    )
    async with SessionSystem(config) as system:
        await system.set_sync_policy(SyncPolicy(mode=SyncMode.MANUAL))
        for name, values in (("ann", None), ("bob", {"handle": "bob"})):
            for platform in ("telegram", "slack"):
                made = await system.create_session("chat", name, platform, metadata=values)
                it.sessions.append(made.session_id)
        await system.add_message(it.sessions[0], None, "user", "hello")
        await system.link_identities("ann", it.sessions[:2], "Ann")
        async with asyncio.timeout(PATIENCE):
            while not await system.suggest_links():
                await asyncio.sleep(0.01)


async def _things(it: World) -> None:
    async with open_store(it.store) as store:
        it.parked = [a_parked(name, reason=REASON, at=at) for at, name in enumerate(("one", "two"))]
        for parked in it.parked:
            await store.parked.put(parked)
        await store.members.heartbeat("agentbus", a_member(LONG_WORKER, owns=range(0, 64, 2)), ttl=3600)
        unsure = a_head(a_conversation()).model_copy(update={"conflicts": (a_conflict(),), "sequence": 1})
        one = a_conversation()
        await store.log.append([a_commit(one, 1, events=[appended(one, 1, "m")])])
        gone = a_head(one, status=SessionStatus.EXPIRED).model_copy(update={"sequence": 1, "message_count": 1})
        await store.heads.save([unsure, gone])
        it.unknown = await in_doubt(store)
        it.api_key = (await create_key(store, SystemClock(), "website", [Role.READ]))[0].key_id
        it.conflicting, it.archived = unsure.session_id, gone.session_id
        it.backup = (await backed_up(store, open_backups(it.backups), description=REASON)).backup_id
        await put_index(store, archived_session(gone, await write_archive(store, open_archive(it.archive), gone)))


@pytest.fixture
def call(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Run a command with standard output as a pipe or as a terminal, and return what came through."""
    monkeypatch.chdir(world.folder)
    monkeypatch.setenv("AGENTBUS_STORE_URL", world.store)
    monkeypatch.setenv("AGENTBUS_ARCHIVE_URL", world.archive)
    monkeypatch.setenv("AGENTBUS_BACKUP_URL", world.backups)
    monkeypatch.setenv("AGENTBUS_AMQP_URL", "memory://")
    monkeypatch.setenv("AGENTBUS_WORKER_TTL", "3600")
    monkeypatch.delenv("COLUMNS", raising=False)
    (world.folder / "rules.toml").write_text(RULES)
    command = typer.main.get_command(app)

    def run(*arguments: str, terminal: bool) -> str:
        reading, writing = os.openpty() if terminal else os.pipe()
        if terminal:
            fcntl.ioctl(writing, termios.TIOCSWINSZ, struct.pack("HHHH", 24, COLUMNS, 0, 0))
        read: list[bytes] = []
        reader = threading.Thread(target=_drain, args=(reading, read))
        reader.start()
        with monkeypatch.context() as patched, os.fdopen(writing, "w") as stream:
            patched.setattr(sys, "stdout", stream)
            command.main([*arguments], standalone_mode=False)
        reader.join()
        return b"".join(read).decode().replace("\r\n", "\n")

    run("expiry", "rules", "add", "rules.toml", terminal=False)
    yield run
    structlog.reset_defaults()


def _drain(descriptor: int, into: list[bytes]) -> None:
    with os.fdopen(descriptor, "rb", buffering=0) as stream:
        try:
            while chunk := stream.read(65536):
                into.append(chunk)
        except OSError:  # how a terminal says that its other end is closed
            return


def test_every_command_has_a_case_or_nothing_to_list() -> None:
    assert sorted([*CASES, *NOTHING_TO_LIST]) == sorted(commands(whole_command_line()))


@pytest.mark.parametrize("terminal", [False, True], ids=["pipe", "terminal"])
@pytest.mark.parametrize("name", CASES)
def test_ids_are_whole(name: str, terminal: bool, world: World, call: Any) -> None:
    case = CASES[name]
    shown = call(*name.split(), *case.arguments(world), terminal=terminal)
    ids = case.ids(world)
    assert ids
    assert [one for one in ids if one not in shown] == [], shown


@pytest.mark.parametrize("name", [name for name in CASES if name.split()[-1] in {"list", "suggestions", "conflicts"}])
def test_in_a_pipe_a_row_is_a_line_with_a_value_for_each_column(name: str, world: World, call: Any) -> None:
    head, *rows = call(*name.split(), *CASES[name].arguments(world), terminal=False).splitlines()
    assert rows
    assert {row.count("\t") for row in rows} == {head.count("\t")}
    assert "…" not in "".join(rows)


def test_parked_inputs_are_a_line_each_and_the_reason_gives_way(world: World, call: Any) -> None:
    for terminal in (False, True):
        head, *rows = call("parked", "list", terminal=terminal).splitlines()
        assert [row.split()[0] for row in rows] == [one.parked_id for one in reversed(world.parked)]
        assert ("…" in rows[0]) is terminal
        assert head.split()[0] in {"parked_id", "parked"}
    wide = call("parked", "list", "-o", "wide", terminal=True)
    assert REASON.replace("\n", "\\n").replace("\t", "\\t") in wide


def test_times_are_iso_8601_in_utc(call: Any) -> None:
    for terminal in (False, True):
        assert f"{NOON:%Y-%m-%d}T12:00:00Z" in call("parked", "list", terminal=terminal)
    assert f'"parked_at": "{NOON:%Y-%m-%d}T12:00:00Z"' in call("parked", "list", "-o", "json", terminal=False)


def test_the_format_is_that_of_the_command_alone(call: Any) -> None:
    assert call("workers", "list", "-o", "json", terminal=False).startswith('{"items"')
    assert call("workers", "list", "--json", terminal=False).startswith('{"items"')
    assert call("workers", "list", terminal=False).startswith("worker\t")
    assert call("workers", "list", "-o", "wide", terminal=False).startswith("worker ")
