"""Appends through the library are measured, by two writers too; what can't be measured is left out, and said."""

import sys
from pathlib import Path
from subprocess import CalledProcessError

import pytest

from tests.benchmarks.library import __main__ as program
from tests.benchmarks.library import environment
from tests.benchmarks.library.contenders import CONTENDERS, RATIOS, Contender
from tests.benchmarks.library.measure import Found, Sizes, Stage, measure
from tests.benchmarks.library.report import draw, figures, table
from tests.harness.program import screen

SLICE = Sizes(rounds=2, block=3, history=5, both=4)


def test_ours_is_measured_and_what_is_not_installed_is_said(tmp_path: Path) -> None:
    missing = Contender(name="agents_sqlite", what="not here", store="sqlite", theirs="agents_sqlite")
    chosen = [*(one for one in CONTENDERS if one.name in {"memory", "sqlite"}), missing]

    found = measure(chosen, SLICE, Stage(tmp_path, Path(sys.executable)))

    assert [len(block) for block in (*found["sqlite"].fresh, *found["sqlite"].long)] == [3] * 4
    assert min(found["sqlite"].cpu_ms) > 0
    assert found["sqlite"].durability == "WAL, synchronous FULL"
    assert (found["sqlite"].kept, found["sqlite"].in_order) == (8, True)
    assert found["memory"].kept is None
    assert "No module named 'agents'" in found["agents_sqlite"].missing
    told = figures(found, SLICE)
    assert told["kept_of_two_writers"] == {"sqlite": "8 of 8"}
    assert not any(key in told for key in RATIOS)
    assert told["missing"].keys() == {"agents_sqlite"}
    screen().print(table(found, told, SLICE))
    draw(told, "a slice", tmp_path / "slice.svg")
    assert (tmp_path / "slice.svg").stat().st_size > 1_000


def test_ours_is_compared_to_the_others_round_by_round() -> None:
    ours = Found(fresh=[[2.0], [8.0], [4.0]], long=[[2.0], [8.0], [6.0]], cpu_ms=[1.0, 2.0, 3.0], kept=8)
    theirs = Found(
        fresh=[[1.0], [8.0], [1.0]], long=[[3.0], [24.0], [3.0]], cpu_ms=[1.0, 1.0, 1.0], kept=5, in_order=False
    )

    told = figures({"sqlite": ours, "agents_sqlite": theirs}, SLICE)

    assert told["vs_agents_sqlite"] == 2.0
    assert told["vs_agents_sqlite_cpu"] == 2.0
    assert told["append_ms"] == {"sqlite": 4.0, "agents_sqlite": 1.0}
    assert told["growth"] == {"sqlite": 1.0, "agents_sqlite": 3.0}
    assert told["in_order"] == {"sqlite": True, "agents_sqlite": False}


def test_the_others_are_installed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []
    made: list[Path] = []

    def install(command: list[str], **_: object) -> None:
        asked.append(command)
        if len(asked) == 1:
            raise CalledProcessError(1, command)

    def create(folder: Path, *, with_pip: bool) -> None:
        assert with_pip
        folder.mkdir()
        made.append(folder)

    monkeypatch.setattr("subprocess.run", install)
    monkeypatch.setattr("venv.create", create)
    folder = environment.kept_environment(tmp_path)
    with pytest.raises(CalledProcessError):
        environment.make_environment(folder)
    pythons = [environment.make_environment(folder) for _ in range(3)]
    assert pythons == [folder / "bin" / "python"] * 3
    assert made == [folder] * 2, "the first was not whole, the second is"
    assert [command[0] for command in asked] == [str(pythons[0])] * 2
    monkeypatch.setattr(environment, "PACKAGES", ("openai-agents==9",))
    assert environment.kept_environment(tmp_path) != folder


def test_one_that_is_not_known_is_refused() -> None:
    with pytest.raises(SystemExit):
        program.main(["--only", "floppy"])
