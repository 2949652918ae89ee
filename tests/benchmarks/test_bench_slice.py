"""A small slice of the benchmark: that it counts right. How fast things are is for `make bench` to say."""

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from rich.console import Console

from tests.benchmarks import __main__ as program
from tests.benchmarks.contenders import AGENTBUS1, CONTENDERS, INGRESS, ORDERED, PLAIN, RELAY
from tests.benchmarks.layout import TOPOLOGY
from tests.benchmarks.load.arrivals import Arrivals
from tests.benchmarks.load.client import Load, LoadFailed
from tests.benchmarks.measures.growth import Growth
from tests.benchmarks.measures.limits import Limits
from tests.benchmarks.measures.low_load import LowLoad, Times, low_load, pace
from tests.benchmarks.measures.results import SHAPES, Results, measure_all, turn
from tests.benchmarks.measures.scale import Scale, Side, measure_scale
from tests.benchmarks.measures.throughput import Throughput, measure_throughput
from tests.benchmarks.messages import bursts, conversations, envelope_of, interleaved, message_of, newcomers
from tests.benchmarks.order import Order, order_of
from tests.benchmarks.output.files import write_files
from tests.benchmarks.output.picture import draw
from tests.benchmarks.output.summary import summarize
from tests.benchmarks.output.tables import print_tables
from tests.benchmarks.sizes import SLICE
from tests.benchmarks.stage import Services, stage
from tests.harness.shares import how_limited
from tests.services import MongoDB, RabbitMQ


@pytest.fixture
def services(rabbitmq: RabbitMQ, mongodb: MongoDB) -> Iterator[Services]:
    with Load() as load:
        yield Services(rabbitmq, mongodb, load)


def test_a_round_compares_contenders_each_on_one_start(services: Services, tmp_path: Path) -> None:
    with services.rabbitmq.fresh_vhost() as amqp_url:
        found = measure_all(replace(services, amqp_url=amqp_url), SLICE, lambda _: None, ("backlog", "low_load"))
    everybody = {AGENTBUS1.name, PLAIN.name, ORDERED.name, RELAY.name}
    runs = {(run.contender, run.shape): run for run in found.throughput}
    assert runs.keys() == {(name, shape) for name in everybody for shape in SHAPES}
    for run in runs.values():
        assert (run.lost, run.repeats) == (0, 0), run
        assert run.cpu_ms > 0
        assert run.rss_mb > 10
        assert 0 < run.startup_s < 60
    ours, ordered, relay = (runs[one.name, "bursts"] for one in (AGENTBUS1, ORDERED, RELAY))
    assert ours.messages == SLICE.users * SLICE.each
    assert relay.messages == round(RELAY.share * SLICE.users) * SLICE.each
    assert ours.inversions == ours.reordered == ordered.inversions == 0
    assert ours.rate > ordered.rate
    assert [run.contender for run in found.low_load] == [AGENTBUS1.name, PLAIN.name]
    for low in found.low_load:
        said_as_it_was(low, {"worker"})
    (limits,) = found.limits
    assert 0 < limits.agentbus < limits.store
    assert SLICE.users <= limits.documents <= 3 * limits.messages
    assert 0 < limits.broker_client_s < 60
    summary = summarize(found)
    compared = {"vs_plain", "vs_ordered", "vs_relay", "vs_plain_bursts", "p50_ratio", "p99_ratio", "cold_ratio"}
    for name in compared | {"cpu_low_ratio", "cpu_ms", "of_relay", "of_broker", "of_store"}:
        figure = summary[name]
        assert isinstance(figure, float)
        assert figure > 0
    # Not every contender has a turn in a short run, and not everything is measured: it is told all the same.
    draw(found, "a round", tmp_path / "round.svg")
    assert (tmp_path / "round.svg").stat().st_size > 10_000
    with (console := Console(width=200)).capture() as told:
        print_tables(console, found)
    assert everybody <= {*told.get().replace("│", " ").split()}


def said_as_it_was(run: LowLoad, costs: set[str]) -> None:
    # Fifty people and, as each tenth, twenty who are new: the other 130 are said by people met before.
    assert (run.cold.messages, run.warm.messages) == (70, 130)
    for times in (run.cold, run.warm):
        assert 0 < times.committed_p50 <= times.committed_p99
        assert times.committed_p50 < times.received_p50 <= times.received_p99
    assert costs <= run.cpu_ms.keys()
    assert all(run.cpu_ms[process] > 0 for process in costs)


def test_at_low_load_the_router_costs_something_too(services: Services) -> None:
    with stage(services, INGRESS) as run:
        traces = [run.folder / "trace.json"]
        run.start_warm(traces=traces)
        paced = pace(services, run, {200: 1})
        run.stop_workers()
        (found,) = low_load(run, paced, traces)
    said_as_it_was(found, {"worker", "router"})


def event_of(user: str, number: int) -> bytes:
    return envelope_of(user, number)[1].to_bytes()  # as the relay announces it


def test_an_event_that_never_came_one_that_came_twice_and_one_that_came_late_are_told() -> None:
    (conversation,) = conversations("ann", 1)
    arrivals = Arrivals()
    for number in range(1, 5):
        arrivals.expect("ann", (conversation, number))
    before = arrivals.worth_reading
    for number in (1, 3, 2, 1):
        arrivals.note(event_of("ann-0", number))
    assert (before, arrivals.worth_reading) == (False, True)
    found = arrivals.summary("ann")
    assert (found["messages"], found["repeats"], found["inversions"], found["reordered"]) == (3, 1, 1, 1)
    assert arrivals.missing == 1
    assert arrivals.summary("bob")["messages"] == 0
    moments = [found["first"], found["but_ahead"], *(arrivals.summary("ann", ahead)["but_ahead"] for ahead in (1, 2))]
    assert moments == [arrivals.at[conversation, number] for number in (1, 2, 3, 1)], "the last, but one, but two"


def test_a_message_that_is_not_announced_ends_the_wait_with_an_error(services: Services) -> None:
    with stage(services, PLAIN) as run:
        run.load.call("publish", shape="bursts", name="user", users=2, each=1)
        with pytest.raises(LoadFailed, match="of 2 messages: 0 unconfirmed, 2 not announced"):
            run.load.call("until_all", name="user", patience=0.5)


@pytest.mark.skipif(how_limited() is None, reason="no control group of ours can limit a process here")
def test_workers_with_a_small_share_of_a_core_share_the_load(services: Services) -> None:
    for run in measure_scale(services, 2, seconds=3, windows=2):
        assert (len(run.together.partitions), len(run.beside.partitions)) == (2, 1)
        for side in (run.together, run.beside):
            assert sum(side.partitions) == TOPOLOGY.partitions
            assert side.rate > 0
            assert sum(side.by_worker) > 0
            assert side.least_partition <= side.most_partition
            assert 0 < side.used < 1.5


def test_a_backlog_that_is_sent_ahead_as_a_whole_tells_no_rate(services: Services) -> None:
    with stage(services, PLAIN) as run, pytest.raises(ValueError, match="of 100 is sent ahead: plain has room for 100"):
        measure_throughput(run, "bursts", replace(SLICE, users=100))


@pytest.mark.parametrize("part", ["failover", "memory"])
def test_a_part_that_a_quick_run_leaves_out_is_not_measured_in_silence(
    part: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["benchmarks", "--quick", "--only", part])
    with pytest.raises(SystemExit):
        program.main()
    assert f"nothing of {part}: leave --quick out" in capsys.readouterr().err


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


def a_run(repeat: int, contender: str, shape: str, rate: float, inversions: int = 0) -> Throughput:
    return Throughput(
        repeat=repeat,
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


def a_low_load(repeat: int, contender: str, milliseconds: float, cpu: float) -> LowLoad:
    def times(factor: float) -> Times:
        return Times(
            messages=9,
            committed_p50=factor * milliseconds,
            committed_p99=2 * milliseconds,
            received_p50=3 * milliseconds,
            received_p99=4 * milliseconds,
        )

    return LowLoad(repeat=repeat, contender=contender, rate=200, cold=times(5), warm=times(1), cpu_ms={"worker": cpu})


def a_side(workers: int, rate: float) -> Side:
    return Side(
        rate=rate,
        by_worker=(rate / workers,) * workers,
        partitions=(64 // workers,) * workers,
        least_partition=1,
        most_partition=2,
        run_out=0,
        cpu_ms=0.1,
        used=1,
    )


def a_scale(workers: int, rate: float, *, beside: float) -> Scale:
    return Scale(workers=workers, share=0.05, together=a_side(workers, rate), beside=a_side(1, beside), seconds=1)


def test_figures_that_compare_are_medians_of_the_ratios_within_a_round(tmp_path: Path) -> None:
    rates = {contender.name: 100.0 * number for number, contender in enumerate(CONTENDERS, start=1)}
    runs = [
        a_run(repeat, name, shape, rate * factor, inversions=3 if name == PLAIN.name else 0)
        for shape in SHAPES
        for name, rate in rates.items()
        for repeat, factor in enumerate((1, 2, 9))
    ]
    growth = [
        Growth(contender=AGENTBUS1.name, message=100, cost_ms=1.0, reference_ms=1.0, cpu_ms=0.3),
        Growth(contender=AGENTBUS1.name, message=10_000, cost_ms=3.0, reference_ms=2.0, cpu_ms=0.4),
    ]
    low = [a_low_load(repeat, AGENTBUS1.name, ms, cpu=1.0) for repeat, ms in enumerate((1, 3, 50))]
    low += [a_low_load(repeat, PLAIN.name, ms, cpu=0.5) for repeat, ms in enumerate((1, 2, 10))]
    limits = [
        Limits(
            repeat=factor,
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
    scale = [a_scale(8, rate, beside=beside) for rate, beside in ((72.0, 10.0), (40.0, 5.0), (24.0, 6.0))]
    results = Results(throughput=runs, low_load=low, growth=growth, limits=limits, scale=scale)
    summary = summarize(results)
    assert (summary["vs_plain"], summary["vs_ordered_bursts"], summary["vs_relay"]) == (0.333, 0.25, 0.2)
    assert summary["inversions_bursts"] == {name: 9.0 if name == PLAIN.name else 0.0 for name in rates}
    assert (summary["growth"], summary["cpu_ms"], summary["cpu_ms_bursts"]) == (1.5, 0.2, 0.2)
    # In the three rounds ours took 1, 1.5 and 5 times what the plain consumer took.
    assert {summary[name] for name in ("p50_ratio", "p99_ratio", "cold_ratio")} == {1.5}
    assert summary["cpu_low_ratio"] == 2.0
    found = summary["low_load"]
    assert isinstance(found, dict)
    assert found["200"][AGENTBUS1.name]["cold_committed_p50"] == 15  # type: ignore[index]  # figures by rate and contender
    assert (summary["of_relay"], summary["of_broker"], summary["of_store"]) == (2.0, 0.5, 0.2)
    # What each window's eight did of eight times the one beside them: 0.9, 1 and 0.5.
    assert (summary["scale_8"], summary["scale_rates"], summary["scale_beside"]) == (0.9, {"8": 40.0}, {"8": 6.0})
    numbers, picture = write_files(results, summary, SLICE, {"mongodb": "6"}, tmp_path)
    assert json.loads(numbers.read_text())["runs"]["growth"] == [asdict(point) for point in growth]
    assert picture.read_text().startswith("<?xml")
