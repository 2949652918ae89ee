"""The results as a picture."""

from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from tests.benchmarks.contenders import CONTENDERS
from tests.benchmarks.measures.results import Results
from tests.benchmarks.output.summary import SHAPES, low_load_medians

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLORS = {
    "agentbus1": "#1f77b4",
    "agentbus2": "#6baed6",
    "ingress": "#08519c",
    "plain": "#d95f02",
    "ordered": "#e6ab02",
    "relay": "#999999",
}
_RATE = 200
_TIMES = {
    "warm p50": "warm_committed_p50",
    "warm p99": "warm_committed_p99",
    "cold p50": "cold_committed_p50",
    "cold p99": "cold_committed_p99",
}


def draw(results: Results, title: str, file: Path) -> None:
    """Write an SVG: throughput, inversions, latency, growth, closeness to the limit, and scale."""
    # It takes a second, in each process that finds the tests.
    import matplotlib as mpl  # noqa: PLC0415 - as above
    from matplotlib.figure import Figure  # noqa: PLC0415 - as above

    mpl.rcParams["svg.hashsalt"] = "agentbus"  # the same results give the same file
    figure = Figure(figsize=(12, 12), layout="constrained")
    axes = figure.subplots(3, 2)
    figure.suptitle(title)
    _rates(axes[0, 0], results)
    _inversions(axes[0, 1], results)
    _latencies(axes[1, 0], results)
    _costs(axes[1, 1], results)
    _limits(axes[2, 0], results)
    _scale(axes[2, 1], results)
    figure.savefig(file, format="svg", metadata={"Date": None})


def _rates(axes: "Axes", results: Results) -> None:
    axes.set_title("messages/s (medians)")
    _bars(axes, results, median, "rate")


def _inversions(axes: "Axes", results: Results) -> None:
    axes.set_title("messages out of order (all repeats)")
    _bars(axes, results, lambda values: float(sum(values)), "inversions")


def _latencies(axes: "Axes", results: Results) -> None:
    axes.set_title(f"ms to committed at {_RATE} msg/s (medians)")
    found = low_load_medians([run for run in results.low_load if run.rate == _RATE]).get(str(_RATE), {})
    width = 0.8 / max(1, len(found))
    for place, (contender, of) in enumerate(found.items()):
        positions = [number + width * (place - (len(found) - 1) / 2) for number in range(len(_TIMES))]
        heights = [of[name] for name in _TIMES.values()]
        bars = axes.bar(positions, heights, width, label=contender, color=_COLORS[contender])
        axes.bar_label(bars, fmt="{:,.1f}", fontsize=7)
    axes.set_xticks(range(len(_TIMES)), list(_TIMES))
    axes.margins(y=0.2)
    if found:
        _legend(axes, fontsize=7)


def _costs(axes: "Axes", results: Results) -> None:
    axes.set_title("ms for the n-th message of a session")
    for contender in dict.fromkeys(point.contender for point in results.growth):
        points = [point for point in results.growth if point.contender == contender]
        numbers, costs = [point.message for point in points], [point.cost_ms for point in points]
        axes.plot(numbers, costs, marker="o", label=contender, color=_COLORS[contender])
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    _legend(axes)


def _limits(axes: "Axes", results: Results) -> None:
    axes.set_title("bursts, messages/s (medians), and what agentbus1 reaches")
    medians = {
        name: median(getattr(run, name) for run in results.limits) if results.limits else 0.0
        for name in ("agentbus", "relay", "broker", "store")
    }
    bars = axes.bar(list(medians), list(medians.values()), color=["#1f77b4", "#999999", "#999999", "#999999"])
    labels = [f"{medians['agentbus']:,.0f}"]
    for name in ("relay", "broker", "store"):
        reached = median(run.agentbus / getattr(run, name) for run in results.limits) if results.limits else 0.0
        labels.append(f"{medians[name]:,.0f}\nreached: {reached:.2f}")
    axes.bar_label(bars, labels=labels, fontsize=8)
    axes.set_xticks(range(4), ["agentbus1", "bare relay", "broker alone", "store alone"])
    axes.margins(y=0.2)


def _scale(axes: "Axes", results: Results) -> None:
    share = results.scale[0].share if results.scale else 0.0
    axes.set_title(f"messages/s by workers with {share:g} of a core each; grey: so many times one beside them")
    workers = sorted({run.workers for run in results.scale})
    windows = [[run for run in results.scale if run.workers == number] for number in workers]
    axes.plot(workers, [median(run.together.rate for run in runs) for runs in windows], marker="o", color="#1f77b4")
    linear = [median(run.workers * run.beside.rate for run in runs) for runs in windows]
    axes.plot(workers, linear, marker="o", color="#999999")
    axes.set_ylim(bottom=0)


def _bars(axes: "Axes", results: Results, join: Callable[[list[float]], float], what: str) -> None:
    ran = {run.contender for run in results.throughput}
    contenders = [one for one in CONTENDERS if one.name in ran]  # not each of them has a turn in a quick run
    width = 0.8 / max(1, len(contenders))
    for place, contender in enumerate(contenders):
        heights = [
            join([getattr(run, what) for run in results.throughput if (run.contender, run.shape) == (name, shape)])
            for name in (contender.name,)
            for shape in SHAPES
        ]
        positions = [number + width * (place - (len(contenders) - 1) / 2) for number in range(len(SHAPES))]
        bars = axes.bar(positions, heights, width, label=contender.name, color=_COLORS[contender.name])
        axes.bar_label(bars, fmt="{:,.0f}", fontsize=7)
    axes.set_xticks(range(len(SHAPES)), list(SHAPES))
    axes.margins(y=0.2)
    _legend(axes, fontsize=7, loc="upper center", ncols=max(1, len(contenders)))


def _legend(axes: "Axes", **how: Any) -> None:
    if axes.get_legend_handles_labels()[0]:  # not everything is measured in a short run
        axes.legend(**how)
