"""The tour succeeds, and would not if a name failed, lacked a step, or was gone."""

import json
from collections.abc import Collection
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest

import agentbus.sessions
from agentbus.sessions import SessionManager
from tests.harness.clock import make_coarse
from tests.harness.sampling import sampled
from tests.harness.stores import KINDS
from tests.harness.system.backends import STORES
from tests.services import RabbitMQ
from tests.tour import run
from tests.tour.__main__ import main
from tests.tour.names import public_names
from tests.tour.registry import STEPS, Step, shows, subject_of
from tests.tour.run import Outcome, tour
from tests.tour.world import SERVERS, Mode, World


@pytest.fixture
def coarse_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what a step does one after the other have the same time."""
    make_coarse(monkeypatch, timedelta(milliseconds=30))


SUBJECTS: Final = sorted({subject_of(step) for step in STEPS.values()})


async def taken(mode: Mode, folder: Path, request: pytest.FixtureRequest, subjects: Collection[str]) -> list[Outcome]:
    """Take the tour of some subjects in one mode, on the run's servers; nothing fails."""
    broker: RabbitMQ | None = request.getfixturevalue("rabbitmq") if mode is Mode.DISTRIBUTED else None
    server = "mongodb" if mode is Mode.DISTRIBUTED else mode.value
    stores = {mode: request.getfixturevalue(server)} if mode in SERVERS else {}
    outcomes = await tour([mode], folder, broker, stores, subjects=subjects)
    assert [one for one in outcomes if not one.ok] == []
    return outcomes


@pytest.mark.timeout(600)  # with services to start, beside other tests
@sampled("mode")  # `make tour` takes each of them in every mode
@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("subject", SUBJECTS)
async def test_every_name_of_a_subject_does_what_it_is_for(
    subject: str, mode: Mode, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if mode is Mode.MEMORY:  # the fastest: a step that needs two moments and does not wait for the second fails
        request.getfixturevalue("coarse_clock")
    shown = {one.name for one in await taken(mode, tmp_path, request, [subject])}
    assert shown == {name for name, step in STEPS.items() if subject_of(step) == subject}


def test_every_public_name_has_a_step() -> None:
    assert {*public_names()} == STEPS.keys()


def test_every_kind_of_store_has_a_mode() -> None:
    assert {mode.value for mode in Mode} == {*KINDS, Mode.DISTRIBUTED}
    assert SERVERS.keys() - {Mode.DISTRIBUTED} == {Mode(kind) for kind in STORES}


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> dict[str, Step]:
    """Let the tour be about locks alone; return its steps."""
    steps = {name: step for name, step in STEPS.items() if "lock" in name}
    monkeypatch.setattr(run, "STEPS", steps)
    monkeypatch.setattr(run, "public_names", lambda: [name for name in public_names() if "lock" in name])
    return steps


@pytest.mark.usefixtures("short")
def test_a_step_that_fails_is_reported(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    async def forgets(*_: object, **__: object) -> bool:
        return False

    monkeypatch.setattr(SessionManager, "release_lock", forgets)
    assert main(["--mode", "memory", "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    failed = {one["name"]: one["error"] for one in told["outcomes"] if not one["ok"]}
    assert "assert await world.manager.release_lock" in failed["SessionManager.release_lock"]
    assert told["failed"] == len(failed) < told["names"]


def test_a_name_without_a_step_and_a_step_without_a_name_are_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], short: dict[str, Step]
) -> None:
    monkeypatch.setattr(SessionManager, "unlock_twice", lambda self: self, raising=False)
    monkeypatch.setitem(short, "SessionManager.lock_twice", STEPS["SessionManager"])
    monkeypatch.setenv("COLUMNS", "100")
    assert main(["--mode", "memory"]) == 1
    told = capsys.readouterr().out
    assert "SessionManager.unlock_twice, memory: no step shows it" in told
    assert "SessionManager.lock_twice, memory: there is no such name" in told
    assert told.count("FAILED") == 2, told
    assert told.endswith("in 1 modes: 2 failed\n")


def test_names_are_found_by_looking() -> None:
    names = public_names()
    assert {*agentbus.sessions.__all__} <= {*names}
    assert {"SessionManager.create_session", "SessionStore.get", "CacheInfo.hit_rate", "StorageType.of"} <= {*names}
    assert len(names) == len(set(names))
    assert not [name for name in names if name.startswith(("SessionSystem.create_session", "MemorySessionStore."))]


def test_a_class_that_is_exported_brings_its_methods() -> None:
    module = ModuleType("new")

    class New:
        def shown(self) -> None: ...

        def _hidden(self) -> None: ...

    New.__module__ = "agentbus.new"
    module.__all__ = ["New"]  # type: ignore[attr-defined]
    module.New = New  # type: ignore[attr-defined]
    assert public_names(module) == ["New", "New.shown"]


def test_a_name_is_shown_once() -> None:
    async def again(_: World) -> None: ...

    name = next(iter(STEPS))
    with pytest.raises(ValueError, match="twice"):
        shows(name)(again)
