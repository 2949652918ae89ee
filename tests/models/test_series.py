"""Series of worlds: what is played, by whom, and what is told of it."""

import json
import pickle
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from unittest.mock import patch

import pytest

from agentbus.sessions import SessionSystem
from tests.harness.processes import ROOT
from tests.models import __main__
from tests.models.__main__ import main
from tests.models.finding import Model
from tests.models.library_world import Services
from tests.models.series import SHARES, Played, World, places_of, worlds_of
from tests.tour.world import Mode, Stores


def test_a_series_takes_the_steps_of_each_model_in_all_its_modes() -> None:
    worlds = worlds_of(list(Model), list(Mode), 10_000, 7)
    steps = Counter[tuple[Model, Mode]]()
    for world in worlds:
        steps[world.model, world.mode] += len(world.steps)
    assert steps == {(model, mode): share * 100 for model in Model for mode, share in SHARES[model].items()}
    assert len({world.seed for world in worlds}) == len(worlds)


@pytest.mark.parametrize("model", list(Model))
def test_the_command_line_tells_what_it_did(model: Model, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--model", model, "--mode", "memory", "--steps", "30", "--seed", "5"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (result["steps"], result["findings"], result["of"]) == (30, 0, {f"{model} memory": 30})


def test_a_series_in_parts_is_the_whole_series_once() -> None:
    whole = worlds_of(list(Model), list(Mode), 5_000, 3)
    played: list[World] = []

    def plays(worlds: Sequence[World], *_: object) -> Iterator[Played]:
        played.extend(worlds)
        yield from (Played(world, len(world.steps), None, Counter()) for world in worlds)

    no_stores: Stores = {}
    nothing = patch.object(__main__, "services", lambda _: nullcontext((None, no_stores)))
    with patch.object(__main__, "play_all", plays), nothing:
        for part in ("1/3", "2/3", "3/3"):
            assert main(["--steps", "5000", "--seed", "3", "--part", part]) == 0
    assert sorted(played, key=lambda world: world.seed) == sorted(whole, key=lambda world: world.seed)


@pytest.mark.parametrize("part", ["0/3", "4/3", "1", "a/b"])
def test_a_part_that_can_not_be_is_said(part: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--part", part])
    assert "--part" in capsys.readouterr().err


def test_a_finding_is_told_and_counted(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    async def forgets(*_: object, **__: object) -> None:
        return None

    monkeypatch.setattr(SessionSystem, "close_session", forgets)
    assert main(["--model", "library", "--mode", "memory", "--steps", "300", "--seed", "1"]) == 1
    *_, again, _, clean, result = capsys.readouterr().out.splitlines()
    assert (json.loads(result)["findings"], json.loads(result)["of"]) == (1, {"library memory": 0})
    assert clean == "library memory: 0 of 300 steps without a finding"
    options = [one.split("=") for one in again.removeprefix("make models ").split()]
    assert main([part for name, value in options for part in (f"--{name.lower()}", value)]) == 1


def test_a_series_that_is_cut_short_tells_what_it_did(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_short(worlds: Sequence[World], *_: object) -> Iterator[Played]:
        yield Played(worlds[0], 20, None, Counter())
        raise KeyboardInterrupt

    monkeypatch.setattr(__main__, "play_all", cut_short)
    with pytest.raises(KeyboardInterrupt):
        main(["--model", "workers", "--mode", "memory", "--steps", "400"])
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["of"] == {"workers memory": 20}


@dataclass
class _Servers:
    """A broker and a MongoDB server that note what is there."""

    there: list[str] = field(default_factory=list)

    @contextmanager
    def fresh_vhost(self) -> Iterator[str]:
        with self._fresh("amqp://host"):
            yield "amqp://host"

    @contextmanager
    def fresh_database(self) -> Iterator[str]:
        with self._fresh("mongodb://host"):
            yield "mongodb://host"

    @contextmanager
    def _fresh(self, url: str) -> Iterator[None]:
        self.there.append(url)
        yield
        self.there.remove(url)


@pytest.mark.parametrize(
    ("mode", "urls"),
    [
        (Mode.MEMORY, []),
        (Mode.MONGODB, ["mongodb://host"]),
        (Mode.DISTRIBUTED, ["amqp://host", "mongodb://host"]),
    ],
)
def test_another_process_gets_places_that_are_there_until_its_world_ends(mode: Mode, urls: list[str]) -> None:
    servers = _Servers()
    with ExitStack() as place:
        places = places_of(World(Model.LIBRARY, mode, 1, range(1)), Services(servers, servers), place)
        assert servers.there == urls
        sent = pickle.loads(pickle.dumps(places))  # noqa: S301 -- our own
        given = []
        if sent.broker:
            given.append(place.enter_context(sent.broker.fresh_vhost()))
        if sent.mongo:
            given.append(place.enter_context(sent.mongo.fresh_database()))
        assert given == urls
    assert servers.there == []


@pytest.mark.timeout(900)
def test_several_processes_play_a_series() -> None:
    command = [sys.executable, "-m", "tests.models", "--mode", "memory", "--steps", "20", "--jobs", "2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["of"] == {"library memory": 20, "workers memory": 20}


@pytest.mark.parametrize("options", [["--only", "1,2"], ["--model", "workers", "--mode", "distributed"]])
def test_what_can_not_be_played_is_said(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(options)
    assert ended.value.code == 2
    assert "--only takes" in (said := capsys.readouterr().err) or "the modes are" in said
