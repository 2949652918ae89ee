"""The figures of a run in one flat object: the last line that `make bench` prints."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from statistics import median
from typing import Final, TypeVar

from tests.benchmarks.contenders import AGENTBUS1, CONTENDERS, ORDERED, PLAIN, RELAY, Contender
from tests.benchmarks.measures.growth import Growth
from tests.benchmarks.measures.low_load import LowLoad
from tests.benchmarks.measures.results import Results
from tests.benchmarks.measures.throughput import Throughput

Figure = float | dict[str, float] | dict[str, dict[str, float]] | dict[str, dict[str, dict[str, float]]]
Summary = dict[str, Figure]
Run = TypeVar("Run", Throughput, LowLoad)

SHAPES: Final = {"interleaved": "", "bursts": "_bursts"}
"""The shapes of load, with the suffix of their figures."""
TIMES: Final = ("committed_p50", "committed_p99", "received_p50", "received_p99")
_SHOWN: Final = {"rates": "rate", "cpu_ms_each": "cpu_ms", "rss_mb": "rss_mb", "startup_s": "startup_s"}
"""Medians of every contender, with the field that each is of."""
_JUDGED_RATE: Final = 200
_JUDGED: Final = {
    "p50_ratio": "warm_committed_p50",
    "p99_ratio": "warm_committed_p99",
    "cold_ratio": "cold_committed_p50",
    "cpu_low_ratio": "cpu_worker",
}
"""The ratios to the plain consumer at 200 msg/s that stand on their own."""


def summarize(results: Results) -> Summary:
    """Return the figures of what was measured.

    Figures are medians of the repeats; what is lost, repeated or out of order is added up. A figure that compares is
    the median, over the rounds, of the ratio within a round.
    """
    figures: Summary = {}
    for shape, suffix in SHAPES.items():
        runs = [run for run in results.throughput if run.shape == shape]
        figures |= _throughput(runs, suffix) if runs else {}
    figures |= _low_load(results) | _growth(results) | _failover(results) | _memory(results)
    return figures | _limits(results) | _scale(results)


def _throughput(runs: list[Throughput], suffix: str) -> Summary:
    there = dict.fromkeys(run.contender for run in runs)
    by_name = {one.name: [run for run in runs if run.contender == one.name] for one in CONTENDERS if one.name in there}
    against = {
        f"vs_{other.name}{suffix}": median(_ratios(runs, AGENTBUS1, other, lambda run: run.rate))
        for other in (PLAIN, ORDERED, RELAY)
    }
    medians = {
        shown: {name: median(getattr(run, key) for run in mine) for name, mine in by_name.items()}
        for shown, key in _SHOWN.items()
    }
    sums = {
        key: {name: float(sum(getattr(run, key) for run in mine)) for name, mine in by_name.items()}
        for key in ("inversions", "reordered", "lost", "repeats")
    }
    shown: Summary = {f"{key}{suffix}": _rounded(value) for key, value in (medians | sums).items()}
    ours = {f"cpu_ms{suffix}": medians["cpu_ms_each"][AGENTBUS1.name]}
    return _rounded(against) | _rounded(ours) | shown


def _low_load(results: Results) -> Summary:
    if not results.low_load:
        return {}
    found = low_load_medians(results.low_load)
    ratios = {
        str(rate): _low_load_ratios([run for run in results.low_load if run.rate == rate])
        for rate in dict.fromkeys(run.rate for run in results.low_load)
    }
    at = ratios.get(str(_JUDGED_RATE), {})
    judged = {name: at[figure] for name, figure in _JUDGED.items() if figure in at}
    return {**judged, "low_load_ratios": ratios, "low_load": found}


def low_load_medians(runs: Sequence[LowLoad]) -> dict[str, dict[str, dict[str, float]]]:
    """Return the medians by rate and contender: times in ms as `warm_...` and `cold_...`, processor time as `cpu_...`.

    Processor time is in ms a message.
    """
    return {
        str(rate): {
            name: _medians(low_load_figures(run) for run in runs if (run.rate, run.contender) == (rate, name))
            for name in dict.fromkeys(run.contender for run in runs)
        }
        for rate in dict.fromkeys(run.rate for run in runs)
    }


def low_load_figures(run: LowLoad) -> dict[str, float]:
    """Return the figures of one run by name."""
    times = {f"warm_{name}": getattr(run.warm, name) for name in TIMES}
    times |= {f"cold_{name}": getattr(run.cold, name) for name in TIMES}
    return times | {f"cpu_{name}": value for name, value in run.cpu_ms.items()}


def _low_load_figure(name: str, run: LowLoad) -> float:
    return low_load_figures(run)[name]


def _low_load_ratios(runs: Sequence[LowLoad]) -> dict[str, float]:
    """Return each figure of ours over the plain consumer's of the same round."""
    return {
        name: round(median(_ratios(runs, AGENTBUS1, PLAIN, partial(_low_load_figure, name))), 3)
        for name in low_load_figures(runs[0])
        if all(name in low_load_figures(run) for run in runs)
    }


def _ratios(runs: Sequence[Run], one: Contender, other: Contender, figure: Callable[[Run], float]) -> list[float]:
    """Return the ratio of a figure in each round."""
    ours, theirs = (
        {run.repeat: figure(run) for run in runs if run.contender == contender.name} for contender in (one, other)
    )
    return [value / theirs[repeat] for repeat, value in ours.items()]


def _growth(results: Results) -> Summary:
    if not results.growth:
        return {}
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
    """Return the rates, and for each number of workers the share of so many times the rate of the one beside them."""
    windows = {
        str(workers): [run for run in results.scale if run.workers == workers]
        for workers in dict.fromkeys(run.workers for run in results.scale)
    }
    if not windows:
        return {}
    figures: Summary = {
        "scale_rates": _rounded({name: median(run.together.rate for run in runs) for name, runs in windows.items()}),
        "scale_beside": _rounded({name: median(run.beside.rate for run in runs) for name, runs in windows.items()}),
    }
    shares = {f"scale_{name}": median(run.of_linear for run in runs) for name, runs in windows.items()}
    return figures | _rounded(shares)


def _medians(runs: Iterable[dict[str, float]]) -> dict[str, float]:
    """Return for each name the median over all runs."""
    values = list(runs)
    return {name: round(median(run[name] for run in values), 3) for name in values[0]}


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 3) for name, value in values.items()}
