"""When a partition is let alone: for faults of ours alone, for a while, longer while that does not help."""

import pytest

from agentbus.contracts.errors import (
    AccessDenied,
    AgentBusError,
    FutureTimestamp,
    KilledWorker,
    SchemaViolation,
    StoreDamaged,
    StoreRejected,
)
from agentbus.workers.session.brake import FIRST_PAUSE, LONGEST_PAUSE, WINDOW, Brake


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def fail(brake: Brake, count: int, error: AgentBusError | None = None) -> list[float]:
    return [pause for _ in range(count) if (pause := brake.failed(error or AgentBusError("a fault of ours")))]


@pytest.mark.parametrize("error", [AgentBusError("ZeroDivisionError()"), StoreRejected("not authorized")])
def test_faults_of_ours_in_a_row_stop(error: AgentBusError) -> None:
    brake = Brake(3, Time())
    assert fail(brake, 2, error) == []
    assert fail(brake, 1, error) == [FIRST_PAUSE]


@pytest.mark.parametrize(
    "error", [SchemaViolation(), FutureTimestamp(), KilledWorker(), AccessDenied(), StoreDamaged()]
)
def test_what_any_publisher_can_send_stops_nothing(error: AgentBusError) -> None:
    assert fail(Brake(3, Time()), 1000, error) == []


def test_what_strangers_send_in_between_does_not_hide_faults_of_ours() -> None:
    brake = Brake(3, Time())
    for _ in range(2):
        brake.failed(AgentBusError())
        brake.failed(SchemaViolation())
    assert fail(brake, 1) == [FIRST_PAUSE]


def test_a_success_ends_the_row() -> None:
    brake = Brake(3, Time())
    for _ in range(10):
        assert fail(brake, 2) == []
        brake.succeeded()


def test_failures_now_and_then_are_no_row() -> None:
    time = Time()
    brake = Brake(3, time)
    for _ in range(10):
        assert fail(brake, 1) == []
        time.now += WINDOW / 2


def test_pauses_grow_until_something_succeeds() -> None:
    brake = Brake(2, Time())
    pauses = fail(brake, 20)
    assert pauses[:3] == [FIRST_PAUSE, 2 * FIRST_PAUSE, 4 * FIRST_PAUSE]
    assert pauses[-1] == LONGEST_PAUSE
    brake.succeeded()
    assert fail(brake, 2) == [FIRST_PAUSE]
