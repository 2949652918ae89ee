"""A machine that was suspended, or a loop that stood still, is found out before anything else happens."""

import time

import pytest

from agentbus.workers.delivery.loop_watch import LoopWatch, since_boot


def test_a_gap_is_told_once_with_its_length() -> None:
    now, gaps = 100.0, list[float]()
    watch = LoopWatch(10.0, gaps.append, clock=lambda: now)
    now += 9.0
    assert not watch.stalled()
    now += 2.0
    assert watch.stalled()
    assert not watch.stalled()
    assert gaps == [11.0]


@pytest.mark.skipif(not hasattr(time, "CLOCK_BOOTTIME"), reason="Linux alone has a clock that counts suspension")
def test_time_goes_on_while_the_machine_is_suspended() -> None:
    assert since_boot() == pytest.approx(time.clock_gettime(time.CLOCK_BOOTTIME), abs=60)
    assert since_boot() >= time.monotonic() - 60


def test_without_such_a_clock_it_is_the_monotonic_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(time, "CLOCK_BOOTTIME", raising=False)
    assert since_boot() == pytest.approx(time.monotonic(), abs=60)
