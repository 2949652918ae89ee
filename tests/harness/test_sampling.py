"""A run takes every behaviour once, and every value of what it is sampled by its even share of them."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.harness.processes import ROOT
from tests.harness.sampling import Case, chosen, seed_of

STORES = ("memory", "sqlite", "file", "mongodb")


def cases(behaviours: int, stores: tuple[str, ...] = STORES, suite: str = "sessions") -> dict[tuple[str, str], Case]:
    return {
        (f"{suite} {number}", store): Case(suite, f"{number}", (("storage", store),))
        for number in range(behaviours)
        for store in stores
    }


@pytest.mark.parametrize("behaviours", [1, 3, 4, 41, 400])
@pytest.mark.parametrize("seed", ["0", "52a9c1"])
def test_each_behaviour_is_taken_once_and_each_store_as_often_as_another(behaviours: int, seed: str) -> None:
    taken = chosen(cases(behaviours), seed)
    assert Counter(behaviour for behaviour, _ in taken) == {f"sessions {number}": 1 for number in range(behaviours)}
    shares = Counter(dict.fromkeys(STORES, 0)) + Counter(store for _, store in taken)
    assert max(shares.values()) - min(shares[store] for store in STORES) <= 1


def test_a_behaviour_of_fewer_stores_is_taken_too_and_the_others_make_up_for_it() -> None:
    some = {key: case for key, case in cases(20).items() if int(case.behaviour) >= 8 or key[1] == "sqlite"}
    shares = Counter(store for _, store in chosen(some, "1"))
    assert shares == {"sqlite": 8, "memory": 4, "file": 4, "mongodb": 4}


def test_suites_share_out_each_for_itself() -> None:
    taken = chosen(cases(4) | cases(4, suite="sync"), "1")
    for suite in ("sessions", "sync"):
        assert Counter(store for behaviour, store in taken if behaviour.startswith(suite)) == dict.fromkeys(STORES, 1)


def test_by_two_parameters_each_value_of_both_has_its_share() -> None:
    pairs = {
        (number, store, mode): Case("sync", f"{number}", (("storage", store), ("mode", mode)))
        for number in range(12)
        for store in STORES
        for mode in ("batch", "manual")
    }
    taken = chosen(pairs, "1")
    assert Counter(mode for _, _, mode in taken) == {"batch": 6, "manual": 6}
    assert Counter(store for _, store, _ in taken) == dict.fromkeys(STORES, 3)


def test_the_same_seed_takes_the_same_and_seeds_take_all_in_time() -> None:
    some = cases(10)
    assert chosen(some, "a") == chosen(dict(reversed(some.items())), "a") != chosen(some, "b")
    assert set().union(*(chosen(some, f"{seed}") for seed in range(60))) == some.keys()


def test_the_seed_is_the_commit_and_without_git_one_that_stays(tmp_path: Path) -> None:
    assert seed_of(tmp_path) == seed_of(tmp_path / "missing") == "0"
    for command in (
        ("init", "-q"),
        ("-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "x"),
    ):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=tmp_path, capture_output=True, text=True, check=True)
    seed = seed_of(tmp_path)
    assert len(seed) == 12
    assert done.stdout.startswith(seed)


TESTS = """
import pytest
from tests.harness.sampling import on_all_servers, sampled

@pytest.fixture(params=[pytest.param(one, marks=sampled("storage")) for one in ("memory", "file", "sqlite")])
def storage(request):
    return request.param

@pytest.mark.parametrize("case", range(4))
def test_stored(storage, case): ...

@sampled("mode", "words")
@pytest.mark.parametrize(("mode", "words"), [("batch", ["a"]), ("manual", ["b"])])
def test_mode(mode, words): ...

@sampled("step", each=3)
@pytest.mark.parametrize("step", range(7))
def test_step(step): ...

class TestAll:
    @pytest.mark.parametrize("value", range(3))
    def test_it(self, value): ...

    def test_other(self): ...

@sampled(each=2)
class TestAgain(TestAll): ...

@on_all_servers
def test_costly(): ...

def test_plain(): ...
"""


def run(folder: Path, *options: str) -> list[str]:
    """Run the tests above; return what was printed."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-c",
        "/dev/null",
        "--rootdir",
        str(folder),
        "-p",
        "no:cacheprovider",
    ]
    command += ["-p", "tests.harness.sampling", "-p", "xdist", *options]
    done = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PATH": "/usr/bin:/bin"},
    )
    return (done.stdout + done.stderr).splitlines()


def test_what_is_left_out_is_deselected_and_said(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(TESTS)
    *lines, told, counts = run(tmp_path, "-vv", "--sample", "7")
    taken = sorted(int(line.partition("test_step[")[2][0]) for line in lines if "test_step[" in line)
    assert [step // 3 for step in taken] == [0, 1, 2], "one of each three"
    assert counts.strip("= ").startswith("15 passed, 16 deselected in")
    assert told.startswith("16 tests are not in the sample 7: `make conformance` takes all")


def test_processes_of_a_run_take_the_same_and_one_says_so(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(TESTS)
    *_, told, counts = run(tmp_path, "-n", "2", "--sample", "7")
    assert counts.startswith("15 passed")
    assert told.startswith("16 tests are not in the sample 7")


@pytest.mark.parametrize("options", [["--whole"], ["test_some.py"], ["-k", "test_"]])
def test_all_is_taken_if_it_is_asked_for_or_named(tmp_path: Path, options: list[str]) -> None:
    (tmp_path / "test_some.py").write_text(TESTS)
    assert run(tmp_path, *options)[-1].startswith("31 passed")


@pytest.mark.parametrize(
    ("right", "wrong", "told"),
    [
        ('sampled("mode"', 'sampled("mood"', "is sampled by mood, and has no such parameter"),
        ("sampled(each=2)", "sampled()", "is sampled by nothing"),
        ("range(4)", "[1, 1]", "has the parameters of another"),
    ],
)
def test_what_would_leave_out_a_behaviour_is_refused(tmp_path: Path, right: str, wrong: str, told: str) -> None:
    (tmp_path / "test_wrong.py").write_text(TESTS.replace(right, wrong))
    assert any(told in line for line in run(tmp_path, "-v"))
