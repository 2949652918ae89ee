"""A small slice of the benchmark: that it counts right. How fast things are is for `make bench` to say."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.benchmarks.contenders import AGENTBUS1, CONTENDERS, INGRESS, ORDERED, PLAIN, RELAY, Contender
from tests.benchmarks.layout import TOPOLOGY
from tests.benchmarks.load.client import Load, LoadFailed
from tests.benchmarks.low_load.measure import LowLoad, Times, measure_one
from tests.benchmarks.low_load.report import figures, ratios
from tests.benchmarks.measures.growth import Growth
from tests.benchmarks.measures.latency import Latency, measure_latency
from tests.benchmarks.measures.limits import Limits, measure_limits
from tests.benchmarks.measures.results import Results, turn
from tests.benchmarks.measures.scale import Scale, measure_scale
from tests.benchmarks.measures.throughput import Throughput, measure_throughput
from tests.benchmarks.messages import bursts, interleaved, message_of, newcomers
from tests.benchmarks.order import Order, order_of
from tests.benchmarks.output.files import write_files
from tests.benchmarks.output.summary import summarize
from tests.benchmarks.sizes import SLICE
from tests.benchmarks.stage import Services
from tests.harness.shares import how_limited
from tests.services import MongoDB, RabbitMQ


@pytest.fixture
def services(rabbitmq: RabbitMQ, mongodb: MongoDB) -> Iterator[Services]:
    with Load() as load:
        yield Services(rabbitmq, mongodb, load)


def runs_of(services: Services, *contenders: Contender) -> list[Throughput]:
    return [measure_throughput(services, contender, "bursts", SLICE, 0.0) for contender in contenders]


def test_everybody_handles_every_message_and_agentbus_beats_whoever_keeps_order(services: Services) -> None:
    ours, ordered, relay = runs_of(services, AGENTBUS1, ORDERED, RELAY)
    for run in (ours, ordered, relay):
        assert (run.lost, run.repeats) == (0, 0), run
    assert ours.messages == relay.messages == SLICE.users * SLICE.each
    assert ours.inversions == ours.reordered == ordered.inversions == 0
    assert ours.rate > ordered.rate
    assert ours.cpu_ms > 0
    assert ours.rss_mb > 10
    assert 0 < ours.startup_s < 60


def test_a_message_is_committed_before_its_event_is_received(services: Services) -> None:
    for contender in (AGENTBUS1, PLAIN):
        latency = measure_latency(services, contender, SLICE.latency_seconds)
        assert latency.messages == 200
        assert 0 < latency.committed_ms["p50"] < latency.received_ms["p50"]
        assert latency.received_ms["p50"] <= latency.received_ms["p99"] <= latency.received_ms["p99.9"]


def test_at_low_load_first_messages_are_told_apart_and_each_process_costs_something(services: Services) -> None:
    for contender, costs in ((AGENTBUS1, {"worker"}), (INGRESS, {"worker", "router"}), (PLAIN, {"worker"})):
        (run,) = measure_one(services, contender, {200: 1})
        # A hundred people and, as each tenth, twenty who are new: the other eighty are said by people met before.
        assert (run.cold.messages, run.warm.messages) == (120, 80)
        for times in (run.cold, run.warm):
            assert 0 < times.committed_p50 <= times.committed_p99
            assert times.committed_p50 < times.received_p50 <= times.received_p99
        assert costs <= run.cpu_ms.keys()
        assert all(run.cpu_ms[process] > 0 for process in costs)


def a_low_load(contender: str, milliseconds: float, cpu: float) -> LowLoad:
    times = Times(
        messages=9,
        committed_p50=milliseconds,
        committed_p99=2 * milliseconds,
        received_p50=3 * milliseconds,
        received_p99=4 * milliseconds,
    )
    return LowLoad(contender=contender, rate=200, cold=times, warm=times, cpu_ms={"worker": cpu})


def test_figures_at_low_load_are_medians_over_the_plain_consumers() -> None:
    runs = [a_low_load(AGENTBUS1.name, ms, cpu=1.0) for ms in (1, 3, 50)]
    runs += [a_low_load(PLAIN.name, ms, cpu=0.5) for ms in (1, 2, 2)]
    found = figures(runs)
    assert (
        found["200"][AGENTBUS1.name] | {"warm_committed_p99": 6, "cold_received_p50": 9, "cpu_worker": 1.0}
        == (found["200"][AGENTBUS1.name])
    )
    assert {ratios(found)["200"][name] for name in ("warm_committed_p50", "cold_received_p99")} == {1.5}
    assert ratios(found)["200"]["cpu_worker"] == 2.0


def test_what_broker_and_store_carry_alone_is_measured_on_the_same_backlog(services: Services) -> None:
    limits = measure_limits(services, SLICE, {RELAY.name: 0.0})
    assert limits.messages == SLICE.users * SLICE.each
    assert SLICE.users <= limits.documents <= 3 * limits.messages
    assert 0 < limits.agentbus < limits.store
    assert limits.relay > 0
    assert limits.broker > 0


@pytest.mark.skipif(how_limited() is None, reason="no control group of ours can limit a process here")
def test_workers_with_a_small_share_of_a_core_share_the_load(services: Services) -> None:
    run = measure_scale(services, 2, seconds=12)
    assert sum(run.partitions) == TOPOLOGY.partitions
    assert sum(run.by_worker) == pytest.approx(run.rate)
    assert run.rate > 0
    assert run.least_partition <= run.most_partition


def test_a_call_that_fails_is_told_and_the_next_one_is_served(services: Services) -> None:
    with pytest.raises(LoadFailed, match="KeyError"):
        services.load.call("publish", shape="no such shape", name="user", users=1, each=1)
    services.load.call("close")


def test_inversions_are_messages_behind_a_later_one() -> None:
    histories = {"calm": [1, 2, 3], "mixed": [2, 1, 3], "late": [2, 3, 1], "twice": [1, 1, 2, 1]}
    assert order_of(histories) == Order(messages=11, repeats=2, inversions=2, reordered=2)


def test_both_shapes_say_the_same_in_another_order() -> None:
    assert list(interleaved("a", 2, 2)) == [("a-0", 1), ("a-1", 1), ("a-0", 2), ("a-1", 2)]
    assert list(bursts("a", 2, 2, first=3)) == [("a-0", 3), ("a-0", 4), ("a-1", 3), ("a-1", 4)]
    assert list(newcomers("a", 5, 2))[8:] == [("a-3", 2), ("a-new-1-9", 1), ("a-4", 2)]
    assert message_of("ann", 7) == message_of("ann", 7) != message_of("ann", 8)


def test_rounds_begin_with_another_contender_each_time() -> None:
    assert [turn((AGENTBUS1, PLAIN, RELAY), number)[0] for number in range(4)] == [AGENTBUS1, PLAIN, RELAY, AGENTBUS1]


def a_run(contender: str, shape: str, rate: float, inversions: int = 0) -> Throughput:
    return Throughput(
        contender=contender,
        shape=shape,
        messages=100,
        rate=rate,
        cpu_ms=0.2,
        rss_mb=100,
        startup_s=1,
        lost=0,
        repeats=0,
        inversions=inversions,
        reordered=min(1, inversions),
    )


def a_scale(workers: int, rate: float) -> Scale:
    return Scale(
        workers=workers,
        share=0.05,
        rate=rate,
        by_worker=(rate / workers,) * workers,
        partitions=(64 // workers,) * workers,
        least_partition=1,
        most_partition=2,
        run_out=0,
        cpu_ms=0.1,
        seconds=1,
    )


def test_ratios_are_those_of_medians_and_inversions_add_up(tmp_path: Path) -> None:
    rates = {contender.name: 100.0 * number for number, contender in enumerate(CONTENDERS, start=1)}
    runs = [
        a_run(name, shape, rate * factor, inversions=3 if name == PLAIN.name else 0)
        for shape in ("interleaved", "bursts")
        for name, rate in rates.items()
        for factor in (1, 2, 9)
    ]
    growth = [
        Growth(contender=AGENTBUS1.name, message=100, cost_ms=1.0, reference_ms=1.0, cpu_ms=0.3),
        Growth(contender=AGENTBUS1.name, message=10_000, cost_ms=3.0, reference_ms=2.0, cpu_ms=0.4),
    ]
    times = {"p50": 1.0, "p99": 2.0, "p99.9": 3.0}
    latency = [
        Latency(contender=name, rate=200, messages=9, committed_ms=times, received_ms=times)
        for name in (AGENTBUS1.name, PLAIN.name)
    ]
    limits = [
        Limits(
            messages=9,
            agentbus=2.0 * factor,
            relay=1.0 * factor,
            broker=8.0,
            store=20.0,
            broker_client_s=0.1,
            documents=3,
        )
        for factor in (1, 2, 3)
    ]
    results = Results(
        throughput=runs, latency=latency, growth=growth, limits=limits, scale=[a_scale(1, 10.0), a_scale(8, 72.0)]
    )
    summary = summarize(results)
    assert (summary["vs_plain"], summary["vs_ordered_bursts"], summary["vs_relay"]) == (0.333, 0.25, 0.2)
    assert summary["inversions_bursts"] == {name: 9.0 if name == PLAIN.name else 0.0 for name in rates}
    assert (summary["growth"], summary["p99_ms"]) == (1.5, 2.0)
    assert (summary["of_relay"], summary["of_broker"], summary["of_store"]) == (2.0, 0.5, 0.2)
    assert (summary["scale_8"], summary["scale_rates"]) == (0.9, {"1": 10.0, "8": 72.0})
    numbers, picture = write_files(results, summary, SLICE, {"mongodb": "6"}, tmp_path)
    assert json.loads(numbers.read_text())["runs"]["growth"] == [asdict(point) for point in growth]
    assert picture.read_text().startswith("<?xml")
