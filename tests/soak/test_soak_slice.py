"""A slice of `make demo-soak` for every test run: a demonstration beside all other tests; its own checks.

One alone is tried by `tests/e2e/test_demo.py`.
"""

import sys
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # its types are a package of their own
import pytest

from tests.harness.results import write_results
from tests.harness.sampling import sampled
from tests.soak.__main__ import summary, table, told_of
from tests.soak.run import HUNG, Ending, Run, busy_cores, demo


def program(source: str) -> tuple[str, ...]:
    return sys.executable, "-X", "faulthandler", "-c", source


def said(source: str, limit: float = HUNG) -> Run:
    with demo(command=program(source)) as started:
        return started.result(limit=limit)


@pytest.mark.timeout(HUNG + 60)
@sampled("rounds")
@pytest.mark.parametrize("rounds", [1, 2, 3])
def test_beside_whatever_keeps_the_cores_busy_it_ends_by_itself(rounds: int) -> None:
    with demo(rounds=rounds) as started:
        run = started.result(busy=True)
    assert run.good, run.said


WELL = 'print(\'{"published": 1, "lost": 0, "duplicated": 0, "reordered": 0}\')'


def test_what_ends_well_is_said_to_have_held() -> None:
    run = said(WELL)
    assert (run.ending, run.said) == (Ending.HELD, "")
    assert 0 < run.seconds < HUNG


def test_what_ends_well_but_late_is_said_to_be_slow() -> None:
    run = said(WELL, limit=0.0)
    assert (run.ending, run.good, run.said) == (Ending.SLOW, True, "")


def test_what_does_not_end_is_found_and_says_where_it_stands() -> None:
    source = "import sys, time\ndef waits_for_ever(): time.sleep(600)\nsys.stderr.write('begun, ')\nwaits_for_ever()"
    with demo(command=program(source)) as started:
        run = started.result(hung=3.0)
        assert started.process.poll() is not None, "it was ended"
    assert run.ending is Ending.HUNG
    assert run.seconds >= 3.0
    assert "begun" in run.said
    assert "waits_for_ever" in run.said


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("raise SystemExit(3)", "exit code 3"),
        (WELL.replace('"lost": 0', '"lost": 1'), '"lost": 1'),
        (WELL.replace('"published": 1', '"published": 0'), '"published": 0'),
        (f"import sys\nsys.stderr.write('2026-01-01 [error    ] sweep_failed')\n{WELL}", "sweep_failed"),
        (f"import sys\nsys.stderr.write('Task was destroyed but it is pending!')\n{WELL}", "destroyed"),
    ],
)
def test_what_ends_badly_is_found(source: str, complaint: str) -> None:
    run = said(source)
    assert run.ending is Ending.FAILED
    assert complaint in run.said


def test_what_keeps_the_cores_busy_ends_with_the_block() -> None:
    before = set(psutil.Process().children())
    with busy_cores(60.0):
        busy = set(psutil.Process().children()) - before
        assert len(busy) == len(psutil.Process().cpu_affinity())
        assert all(process.is_running() for process in busy)
    assert not any(process.is_running() for process in busy)


def test_what_keeps_the_cores_busy_ends_by_itself() -> None:
    with busy_cores(0.2):
        busy = [process for process in psutil.Process().children() if "monotonic" in " ".join(process.cmdline())]
        assert psutil.wait_procs(busy, timeout=30.0)[1] == []


def test_figures_tell_hangs_from_errors(tmp_path: Path) -> None:
    runs = [
        Run(False, 8.0, Ending.HELD, load=1.0),
        Run(True, 300.0, Ending.HUNG, "stands", load=3.0),
        Run(False, 2.0, Ending.FAILED, "no", load=1.5),
        Run(False, 61.0, Ending.SLOW, load=9.0),
    ]
    counts = {"runs": 4, "hangs": 1, "errors": 1, "slow": 1}
    assert summary(runs) == {**counts, "p50_s": 34.5, "max_s": 300.0, "load": 2.2}
    assert table(runs).row_count == 2
    written = write_results(tmp_path / "results" / "demo-4.json", told_of(runs), indent=1).read_text("utf-8")
    assert '"said": "stands"' in written
    assert '"busy": {\n   "runs": 1' in written
