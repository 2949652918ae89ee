from agentbus.workers.adapters.pace import Pace


def test_a_burst_of_two_seconds_is_taken_and_then_as_many_as_the_rate_brings() -> None:
    now = [100.0]
    pace = Pace(5, clock=lambda: now[0])

    assert sum(pace.allows() for _ in range(20)) == 10
    now[0] += 1
    assert sum(pace.allows() for _ in range(20)) == 5
    now[0] += 3600
    assert sum(pace.allows() for _ in range(20)) == 10


def test_a_rate_below_one_takes_one_now_and_then() -> None:
    now = [0.0]
    pace = Pace(0.1, clock=lambda: now[0])

    assert [pace.allows(), pace.allows()] == [True, False]
    now[0] += 9
    assert not pace.allows()
    now[0] += 2
    assert pace.allows()
