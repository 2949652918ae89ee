"""The figures of a run in one flat object: the last line that `make bench` prints."""

from collections.abc import Iterable
from statistics import median

from tests.benchmarks.contenders import AGENTBUS1, CONTENDERS, ORDERED, PLAIN, RELAY
from tests.benchmarks.measures.growth import Growth
from tests.benchmarks.measures.results import Results
from tests.benchmarks.measures.throughput import Throughput

Figure = float | dict[str, float] | dict[str, dict[str, float]]
Summary = dict[str, Figure]

SHAPES = {"interleaved": "", "bursts": "_bursts"}
"""The shapes of load, with the suffix of their figures."""


def summarize(results: Results) -> Summary:
    """Return the figures; each is the median of the repeats, inversions are added up."""
    figures: Summary = {}
    for shape, suffix in SHAPES.items():
        figures |= _throughput([run for run in results.throughput if run.shape == shape], suffix)
    figures |= _latency(results) | _growth(results) | _failover(results) | _memory(results)
    return figures | _limits(results) | _scale(results)


def _throughput(runs: list[Throughput], suffix: str) -> Summary:
    by_name = {one.name: [run for run in runs if run.contender == one.name] for one in CONTENDERS}
    rates = {name: median(run.rate for run in mine) for name, mine in by_name.items()}
    ours = rates[AGENTBUS1.name]
    against = {
        f"vs_{other.name}{suffix}": ours / rates[other.name] for other in (PLAIN, ORDERED, RELAY) if other.name in rates
    }
    medians = {
        key: {name: median(getattr(run, key) for run in mine) for name, mine in by_name.items()}
        for key in ("cpu_ms", "rss_mb", "startup_s")
    }
    sums = {
        key: {name: float(sum(getattr(run, key) for run in mine)) for name, mine in by_name.items()}
        for key in ("inversions", "reordered", "lost", "repeats")
    }
    shown: Summary = {f"{key}{suffix}": _rounded(value) for key, value in (medians | sums).items()}
    return _rounded(against) | {f"rates{suffix}": _rounded(rates)} | shown


def _latency(results: Results) -> Summary:
    names = dict.fromkeys(run.contender for run in results.latency)
    committed, received = (
        {name: _medians(getattr(run, key) for run in results.latency if run.contender == name) for name in names}
        for key in ("committed_ms", "received_ms")
    )
    return {
        "p99_ms": committed[AGENTBUS1.name]["p99"],
        "p99_plain_ms": committed[PLAIN.name]["p99"],
        "committed_ms": committed,
        "received_ms": received,
    }


def _growth(results: Results) -> Summary:
    points: dict[str, list[Growth]] = {}
    for point in results.growth:
        points.setdefault(point.contender, []).append(point)
    ratios = {name: mine[-1].ratio for name, mine in points.items()}
    return {
        "growth": round(ratios[AGENTBUS1.name], 3),
        "growth_ratios": _rounded(ratios),
        "growth_cost_ms": {
            name: _rounded({str(at.message): at.cost_ms for at in mine}) for name, mine in points.items()
        },
        "growth_cpu_ms": {name: _rounded({str(at.message): at.cpu_ms for at in mine}) for name, mine in points.items()},
    }


def _failover(results: Results) -> Summary:
    runs = results.failover
    if not runs:
        return {}
    return {
        "failover_s": round(max(run.wait_max_s for run in runs), 3),
        "failover_p50_s": round(median(run.wait_p50_s for run in runs), 3),
        "failover_lost": sum(run.lost for run in runs),
        "failover_repeats": sum(run.repeats for run in runs),
        "failover_inversions": sum(run.inversions for run in runs),
    }


def _memory(results: Results) -> Summary:
    if not results.memory:
        return {}
    run = results.memory[0]
    return {
        "memory_sessions": run.sessions,
        "memory_mb": _rounded(
            {
                "started": run.started_mb,
                "fifth": run.fifth_mb,
                "half": run.half_mb,
                "end": run.end_mb,
                "peak": run.peak_mb,
            }
        ),
    }


def _limits(results: Results) -> Summary:
    """Return which share of each limit is reached, in bursts; of the relay, which keeps nothing, it is a multiple."""
    if not results.limits:
        return {}
    ratios = {
        name: [run.agentbus / getattr(run, name) for run in results.limits] for name in ("relay", "broker", "store")
    }
    return {f"of_{name}": round(median(values), 3) for name, values in ratios.items()}


def _scale(results: Results) -> Summary:
    """Return the rates, and for each number of workers the share of so many times the rate of one."""
    rates = {
        workers: median(run.rate for run in results.scale if run.workers == workers)
        for workers in dict.fromkeys(run.workers for run in results.scale)
    }
    if 1 not in rates:
        return {}
    figures: Summary = {"scale_rates": _rounded({str(workers): rate for workers, rate in rates.items()})}
    for workers, rate in rates.items():
        if workers > 1:
            figures[f"scale_{workers}"] = round(rate / (workers * rates[1]), 3)
    return figures


def _medians(runs: Iterable[dict[str, float]]) -> dict[str, float]:
    """Return for each name the median over all runs."""
    values = list(runs)
    return {name: round(median(run[name] for run in values), 3) for name in values[0]}


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 3) for name, value in values.items()}
