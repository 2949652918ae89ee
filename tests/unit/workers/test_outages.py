"""Outages: however many calls fail, few lines say so."""

from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from agentbus.contracts.errors import BrokerUnavailable, StoreUnavailable
from agentbus.contracts.ids import Partition
from agentbus.contracts.members import WorkerId
from agentbus.contracts.outages import REMIND_SECONDS, Cause, Outage, Stage
from agentbus.workers import outages
from agentbus.workers.delivery import retry
from agentbus.workers.delivery.retry import keep_trying
from agentbus.workers.outages import PartitionLog, Trouble


class Seconds:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Seconds:
    """Give the process's gates a clock of the test's, and nothing that other tests left."""
    seconds = Seconds()
    monkeypatch.setattr(outages, "_OUTAGES", {cause: Outage(seconds) for cause in Cause})
    return seconds


def stages(outage: Outage, clock: Seconds, *, seconds: int) -> list[tuple[float, Stage]]:
    """Let a call fail four times a second."""
    said = []
    for _ in range(seconds * 4):
        notice = outage.failed("call")
        if notice:
            said.append((clock.now - 1000, notice.stage))
        clock.now += 0.25
    return said


def test_an_outage_is_a_line_at_its_beginning_one_a_minute_and_one_at_its_end() -> None:
    clock = Seconds()
    outage = Outage(clock)
    assert stages(outage, clock, seconds=150) == [(0, Stage.BEGAN), (60, Stage.LASTS), (120, Stage.LASTS)]
    over = outage.ended("call")
    assert over is not None
    assert (over.stage, over.seconds, over.failures) == (Stage.OVER, 150.0, 600)
    assert outage.ended("call") is None


def test_it_lasts_until_the_last_caller_succeeds() -> None:
    outage = Outage(Seconds())
    outage.failed("one")
    outage.failed("two")
    assert outage.ended("one") is None
    assert outage.ended("somebody else") is None
    over = outage.ended("two")
    assert over is not None
    assert over.stage is Stage.OVER


def test_flapping_is_no_flood() -> None:
    clock, said = Seconds(), 0
    outage = Outage(clock)
    for _ in range(300):
        said += sum(notice is not None for notice in (outage.failed("call"), outage.ended("call")))
        clock.now += 1
    assert said == 2 * 5, "a beginning and an end a minute"


def test_an_outage_that_begins_soon_after_another_is_said_when_it_lasts() -> None:
    clock = Seconds()
    outage = Outage(clock)
    outage.failed("call")
    outage.ended("call")
    clock.now += 30
    assert stages(outage, clock, seconds=40) == [(60, Stage.BEGAN)]
    over = outage.ended("call")
    assert over is not None
    assert over.seconds == 40


def test_store_and_broker_are_told_apart(clock: Seconds) -> None:
    with capture_logs() as lines:
        for error in (StoreUnavailable("no store"), BrokerUnavailable("no broker"), ValueError("odd row")):
            trouble = Trouble("work")
            trouble.failed(error)
            trouble.failed(error)
            clock.now += 2
            trouble.over()
            trouble.over()
    assert [(line["event"], line["cause"]) for line in lines] == [
        (event, cause) for cause in ("store", "broker", "fault") for event in ("outage_began", "outage_over")
    ]
    assert (lines[0]["call"], lines[0]["error"]) == ("work", "no store")
    assert (lines[1]["seconds"], lines[1]["failures"]) == (2.0, 2)


async def test_calls_that_are_tried_again_are_few_lines(clock: Seconds, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "OUTAGES", replace(retry.OUTAGES, longest_wait=0))
    failures = 40

    async def call() -> str:
        nonlocal failures
        failures -= 1
        clock.now += 2
        if failures:
            raise StoreUnavailable("no store")
        return "done"

    with capture_logs() as lines:
        assert await keep_trying("load", call) == "done"
    assert [line["event"] for line in lines] == ["outage_began", "outage_lasts", "outage_over"]


def test_who_gets_and_loses_partitions_is_said_when_it_changes() -> None:
    log = PartitionLog(WorkerId("w1"))
    with capture_logs() as lines:
        for owned in ((0, 1, 2, 7), (7, 2, 1, 0), (1, 2, 3), ()):
            log.now([Partition(one) for one in owned])
    assert [(line["got"], line["lost"], line["owns"]) for line in lines] == [
        ("0-2, 7", "", 4),
        ("3", "0, 7", 3),
        ("", "1-3", 0),
    ]


def test_of_what_comes_by_the_thousand_the_first_lines_of_each_minute_are_said_and_the_rest_is_counted() -> None:
    clock = Seconds()
    sparing = outages.Sparing(clock)
    said = [(number, more) for number in range(1000) if (more := sparing.due("parked")) is not None]
    assert said == [(number, {}) for number in range(outages.SAID_AT_ONCE)]
    assert sparing.due("something else") == {}
    clock.now += REMIND_SECONDS
    assert sparing.due("parked") == {"unsaid": 1000 - outages.SAID_AT_ONCE}
    assert sparing.due("parked") == {}
