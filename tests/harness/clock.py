"""Time in tests: two calls within one tick of the clock bear the same time, and neither is the later one.

Fast machines do two calls within a millisecond now and then, so that a test which needs one of them to be later fails
once in a hundred runs. `later` lets the clock go on; `TEST_CLOCK_TICK=50` before pytest makes the clock of its process
so coarse that whoever forgot to fails at once.
"""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from agentbus.contracts.clock import SystemClock
from agentbus.testing.clock import later as later  # noqa: PLC0414 - it is handed on

_START = datetime(1970, 1, 1, tzinfo=UTC)


def make_coarse(monkeypatch: pytest.MonkeyPatch, tick: timedelta) -> None:
    """Let the clock of this process go on by `tick` at a time."""
    monkeypatch.setattr(SystemClock, "now", lambda _: _START + (datetime.now(UTC) - _START) // tick * tick)


@pytest.fixture(autouse=True, scope="session")
def clock_of_this_run() -> Iterator[None]:
    """Make it as coarse as `TEST_CLOCK_TICK` says, in milliseconds."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        if tick := os.environ.get("TEST_CLOCK_TICK"):
            make_coarse(monkeypatch, timedelta(milliseconds=float(tick)))
        yield
