"""`agentbus archive` and `agentbus erase`, as an operator uses them, on a store and an archive of this machine."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from agentbus.cli import app
from agentbus.cli import archive as archive_commands
from agentbus.cli import erase as erase_commands
from agentbus.composition.app import App, make_clock, make_store
from agentbus.contracts.topology import Topology
from agentbus.settings import Settings
from agentbus.storage.factory import open_store
from agentbus.workers.bus.memory import MemoryBus
from agentbus.workers.session.config import SessionWorkerConfig
from agentbus.workers.session.worker import SessionWorker
from tests.harness.erasures import ADA, ADA_SLACK, TRACES, everything_in, live_in, town

Command = Callable[..., Result]


@asynccontextmanager
async def with_a_worker(settings: Settings) -> AsyncIterator[App]:
    """Connect as the command does, with a session worker beside it."""
    async with make_store(settings) as store, MemoryBus(Topology(partitions=4)) as bus:
        await bus.declare()
        worker = SessionWorker(bus, store, config=SessionWorkerConfig())
        try:
            await worker.start()
            yield App(settings=settings, bus=bus, store=store, clock=make_clock())
        finally:
            await worker.close()


@pytest.fixture
def sessions(tmp_path: Path) -> dict[str, str]:
    """Let people live in a store, and return their sessions by name."""

    async def live() -> dict[str, str]:
        store = open_store(f"sqlite:///{tmp_path}/sessions.db")
        async with town(store, f"file://{tmp_path}/archive") as it:
            await live_in(it)
            return {**it.sessions}

    return asyncio.run(live())


@pytest.fixture
def agentbus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    for module in (archive_commands, erase_commands):
        monkeypatch.setattr(module, "connected", with_a_worker)
    monkeypatch.setenv("AGENTBUS_STORE_URL", f"sqlite:///{tmp_path}/sessions.db")
    monkeypatch.setenv("AGENTBUS_ARCHIVE_URL", f"file://{tmp_path}/archive")
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: str, **how: Any) -> Result:
        return CliRunner().invoke(app, arguments, **how)

    return call


def test_an_archived_session_is_listed_shown_verified_and_restored(agentbus: Command, sessions: dict[str, str]) -> None:
    listed = json.loads(agentbus("archive", "list", "--json").stdout)["items"]
    assert {row["session_id"] for row in listed} == {sessions["ada archived"], sessions["attic"]}
    shown = agentbus("archive", "show", sessions["attic"])
    assert "bob-0815" in shown.stdout
    assert json.loads(agentbus("archive", "show", sessions["attic"], "--json").stdout)["messages"] == 5
    verified = json.loads(agentbus("archive", "verify", "--json").stdout)["items"]
    assert {row["health"] for row in verified} == {"ok"}
    refused = agentbus("archive", "delete", sessions["attic"])
    assert refused.exit_code == 1
    assert "restore or delete it first" in refused.stderr
    restored = agentbus("archive", "restore", sessions["attic"])
    assert restored.exit_code == 0, restored.output
    assert "active, 5 messages" in restored.stdout
    assert "welcome to the attic" in agentbus("sessions", "history", sessions["attic"]).stdout
    assert agentbus("archive", "delete", sessions["attic"]).exit_code == 0


def test_damage_is_told_and_fails_the_command(agentbus: Command, sessions: dict[str, str], tmp_path: Path) -> None:
    (file,) = (tmp_path / "archive" / "sessions").rglob(f"{sessions['attic']}/*.gz")
    file.write_bytes(file.read_bytes()[:-10])
    done = agentbus("archive", "verify")
    assert done.exit_code == 1
    assert "damaged" in done.stdout
    one = agentbus("archive", "verify", sessions["attic"])
    assert one.exit_code == 1
    assert agentbus("archive", "verify", sessions["ada archived"]).exit_code == 0
    restored = agentbus("archive", "restore", sessions["attic"])
    assert (restored.exit_code, "archive_damaged" in restored.stderr) == (1, True)


@pytest.mark.usefixtures("sessions")
def test_records_that_are_missing_are_made_anew(agentbus: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTBUS_STORE_URL", "memory://")
    assert "2 records were made anew" in agentbus("archive", "verify").stderr


def test_what_is_not_there_or_not_set_is_told_with_what_to_do(
    agentbus: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "agentbus archive list" in agentbus("archive", "show", "a" * 26 + ".1").stderr
    assert agentbus("archive", "show", "../../etc").exit_code == 2
    assert "No session is archived" in agentbus("archive", "list").output
    monkeypatch.delenv("AGENTBUS_ARCHIVE_URL")
    assert "AGENTBUS_ARCHIVE_URL" in agentbus("archive", "show", "a" * 26 + ".1").stderr


def found(folder: Path) -> list[str]:
    held = everything_in(folder)
    return [trace for trace in TRACES if trace.encode() in held]


def test_a_user_is_erased(agentbus: Command, sessions: dict[str, str], tmp_path: Path) -> None:
    plan = json.loads(agentbus("erase", ADA, "--dry-run", "--json").stdout)
    assert plan["people"] == sorted([ADA, ADA_SLACK])
    assert set(plan["sessions"]) == set(sessions.values()) - {sessions["bob"]}
    assert "Erase all of it?" in agentbus("erase", ADA, input="n\n").stderr
    assert set(found(tmp_path)) == set(TRACES), "nothing is erased without a yes"
    done = agentbus("erase", ADA, "--yes", "--json")
    assert done.exit_code == 0, done.output
    receipt = json.loads(done.stdout)
    assert set(receipt["sessions"]) == set(plan["sessions"])
    assert found(tmp_path) == []
    again = agentbus("erase", ADA, "--yes")
    assert receipt["receipt_id"] in again.stdout, "who is not there any more has a receipt already"
    assert "Nobody who was erased" in agentbus("erase", "--reapply").output


@pytest.mark.usefixtures("sessions")
def test_erasing_without_an_archive_is_told(agentbus: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AGENTBUS_ARCHIVE_URL")
    assert "AGENTBUS_ARCHIVE_URL" in agentbus("erase", ADA, "--dry-run").stderr


def test_either_a_user_or_all_again(agentbus: Command) -> None:
    assert agentbus("erase").exit_code == 2
    assert agentbus("erase", ADA, "--reapply").exit_code == 2
