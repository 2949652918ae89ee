"""The tables that a person reads."""

from collections.abc import Iterable, Sequence
from statistics import median

from rich.console import Console
from rich.table import Table

from tests.benchmarks.contenders import CONTENDERS
from tests.benchmarks.measures.failover import Failover
from tests.benchmarks.measures.growth import Growth
from tests.benchmarks.measures.limits import Limits
from tests.benchmarks.measures.low_load import LowLoad
from tests.benchmarks.measures.memory import Memory
from tests.benchmarks.measures.results import Results
from tests.benchmarks.measures.scale import Scale, Side
from tests.benchmarks.measures.throughput import Throughput
from tests.benchmarks.output.summary import TIMES, low_load_medians


def print_tables(console: Console, results: Results) -> None:
    """Print all that was measured."""
    for shape in dict.fromkeys(run.shape for run in results.throughput):
        console.print(throughput_table(shape, [run for run in results.throughput if run.shape == shape]))
    if results.limits:
        console.print(limits_table(results.limits))
    if results.low_load:
        console.print(low_load_table(results.low_load))
    if results.scale:
        console.print(scale_table(results.scale, results.scale_limited_by or ""))
    if results.growth:
        console.print(growth_table(results.growth))
    if results.failover:
        console.print(failover_table(results.failover))
    if results.memory:
        console.print(memory_table(results.memory))


def throughput_table(shape: str, runs: list[Throughput]) -> Table:
    """Return the table of one shape of load: medians, with the least and the greatest rate."""
    headings = ("msg/s", "least", "most", "CPU ms/msg", "peak MB", "start s", "lost", "inversions", "conversations")
    table = titled(f"Backlog, {shape}: medians of the repeats", "contender", *headings)
    for contender in CONTENDERS:
        mine = [run for run in runs if run.contender == contender.name]
        if not mine:
            continue
        rates = [run.rate for run in mine]
        table.add_row(
            contender.name,
            *(f"{rate:,.0f}" for rate in (median(rates), min(rates), max(rates))),
            f"{median(run.cpu_ms for run in mine):.3f}",
            f"{median(run.rss_mb for run in mine):.0f}",
            f"{median(run.startup_s for run in mine):.2f}",
            str(sum(run.lost for run in mine)),
            f"{sum(run.inversions for run in mine):,} of {sum(run.messages for run in mine):,}",
            str(sum(run.reordered for run in mine)),
        )
    return table


def low_load_table(runs: Sequence[LowLoad]) -> Table:
    """Return the table of steady rates: medians of the repeats."""
    headings = [f"{part} {to} {p}" for part in ("warm", "cold") for to in ("com", "rec") for p in ("p50", "p99")]
    costs = ("worker", "router", "broker", "database")
    title = "Steady rates: ms from publishing to committed and received, CPU ms/msg; medians of the repeats"
    made = titled(title, "msg/s, who", *headings, *costs)
    for rate, contenders in low_load_medians(runs).items():
        for name, of in contenders.items():
            times = [f"{of[f'{part}_{time}']:.1f}" for part in ("warm", "cold") for time in TIMES]
            cpu = [f"{of[f'cpu_{what}']:.2f}" if f"cpu_{what}" in of else "" for what in costs]
            made.add_row(f"{rate} {name}", *times, *cpu)
    return made


def growth_table(points: Iterable[Growth]) -> Table:
    """Return the table of costs in a growing session."""
    headings = ("n", "ms", "ms of the first, in turn", "CPU ms", "ratio")
    table = titled("Growth: the cost of the n-th message of a session", "contender", *headings)
    for point in points:
        costs = (f"{cost:.3f}" for cost in (point.cost_ms, point.reference_ms, point.cpu_ms))
        table.add_row(point.contender, f"{point.message:,}", *costs, f"{point.ratio:.2f}")
    return table


def failover_table(runs: Iterable[Failover]) -> Table:
    """Return the table of kills."""
    headings = ("messages", "affected", "wait p50 s", "wait max s", "lost", "repeats", "inversions")
    table = titled("kill -9 of one of two workers at 200 msg/s", "contender", *headings)
    for run in runs:
        counts = (str(number) for number in (run.lost, run.repeats, run.inversions))
        waits = (f"{run.wait_p50_s:.2f}", f"{run.wait_max_s:.2f}")
        table.add_row(run.contender, f"{run.messages:,}", str(run.affected), *waits, *counts)
    return table


def memory_table(runs: Iterable[Memory]) -> Table:
    """Return the table of memory over a long backlog."""
    headings = ("sessions seen", "first event", "a fifth", "half", "end", "peak", "seconds")
    table = titled("Resident memory in MB, working off a backlog of one message a session", "contender", *headings)
    for run in runs:
        sizes = (run.started_mb, run.fifth_mb, run.half_mb, run.end_mb, run.peak_mb)
        table.add_row(run.contender, f"{run.sessions:,}", *(f"{size:.0f}" for size in sizes), f"{run.seconds:.0f}")
    return table


def limits_table(runs: Iterable[Limits]) -> Table:
    """Return the table of what there is to reach, one row a round."""
    headings = ("relay", "broker alone", "store alone", "of the relay", "of the broker", "of the store")
    table = titled("Closeness to the limit, bursts, msg/s", "agentbus1", *headings)
    for run in runs:
        limits = (run.relay, run.broker, run.store)
        shares = (f"{run.agentbus / limit:.2f}" for limit in limits)
        table.add_row(f"{run.agentbus:,.0f}", *(f"{limit:,.0f}" for limit in limits), *shares)
    return table


def scale_table(runs: Iterable[Scale], limited_by: str) -> Table:
    """Return the table of more workers with a small share of a core each, two rows a window: they, the one beside."""
    headings = ("msg/s", "of linear", "CPU ms/msg", "of the share", "partitions each", "msg/s each", "msg a partition")
    found = list(runs)
    table = titled(f"Workers with {found[0].share:g} of a core each ({limited_by})", "workers", *headings, "run out")
    for run in found:
        table.add_row(str(run.workers), *_scale_row(run.together, f"{run.of_linear:.2f}"))
        table.add_row("1 beside", *_scale_row(run.beside, ""))
    return table


def _scale_row(side: Side, of_linear: str) -> tuple[str, ...]:
    return (
        f"{side.rate:,.0f}",
        of_linear,
        f"{side.cpu_ms:.3f}",
        f"{side.used:.0%}",
        f"{side.partitions[0]} to {side.partitions[-1]}",
        f"{side.by_worker[0]:,.0f} to {side.by_worker[-1]:,.0f}",
        f"{side.least_partition} to {side.most_partition}",
        str(side.run_out),
    )


def titled(title: str, first: str, *headings: str) -> Table:
    """Return an empty table: `first` heads its names, `headings` its figures."""
    table = Table(title=title, title_justify="left")
    table.add_column(first)
    for heading in headings:
        table.add_column(heading, justify="right")
    return table
