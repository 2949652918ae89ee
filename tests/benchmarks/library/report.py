"""What the appends came to: on the screen, as figures, and as a picture."""

from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any, Final

from rich.table import Table

from tests.benchmarks.library.contenders import CONTENDERS, RATIOS
from tests.benchmarks.library.measure import Found, Sizes
from tests.harness.figures import percentile

RESULTS: Final = Path(__file__).parents[1] / "results" / "library.json"


def figures(found: Mapping[str, Found], sizes: Sizes) -> dict[str, Any]:
    """Return the medians of the rounds by name, and how many times as long ours takes as what it is compared to.

    Compared is round by round, as those were measured one beside the other. What could not be measured is not there.
    """
    there = {name: one for name, one in found.items() if not one.missing}
    pairs = {key: pair for key, pair in RATIOS.items() if there.keys() >= set(pair)}
    return {
        "append_ms": {name: _rounded(median(map(median, one.fresh))) for name, one in there.items()},
        "append_p99_ms": {
            name: _rounded(median(percentile(block, 99) for block in one.fresh)) for name, one in there.items()
        },
        "append_cpu_ms": {name: _rounded(median(one.cpu_ms)) for name, one in there.items()},
        "growth": {name: _rounded(_ratio(one.long, one.fresh)) for name, one in there.items()},
        "kept_of_two_writers": {
            name: f"{one.kept} of {2 * sizes.both}" for name, one in there.items() if one.kept is not None
        },
        "in_order": {name: one.in_order for name, one in there.items()},
        "missing": {name: one.missing for name, one in found.items() if one.missing},
        **{key: _rounded(_ratio(there[ours].fresh, there[other].fresh)) for key, (ours, other) in pairs.items()},
        **{
            f"{key}_cpu": _rounded(_of_each(there[ours].cpu_ms, there[other].cpu_ms))
            for key, (ours, other) in pairs.items()
        },
    }


def table(found: Mapping[str, Found], told: Mapping[str, Any], sizes: Sizes) -> Table:
    """Return figures as a table for the screen."""
    shown = Table(
        title=f"An append, medians of {sizes.rounds} rounds of {sizes.block}; growth: after {sizes.history:,} messages",
        title_justify="left",
    )
    for heading in ("", "store", "on the disk when it returns"):
        shown.add_column(heading)
    for heading in ("p50 ms", "p99 ms", "CPU ms", "growth", "two writers kept", "each in order"):
        shown.add_column(heading, justify="right")
    for one in CONTENDERS:
        if one.name in found:
            shown.add_row(one.what, one.store, *_row(one.name, found[one.name], told))
    return shown


def _row(name: str, found: Found, told: Mapping[str, Any]) -> tuple[str, ...]:
    if found.missing:
        return (f"not measured: {found.missing}",)
    return (
        found.durability,
        f"{told['append_ms'][name]:.2f}",
        f"{told['append_p99_ms'][name]:.2f}",
        f"{told['append_cpu_ms'][name]:.2f}",
        f"{told['growth'][name]:.2f}",
        told["kept_of_two_writers"].get(name, "one process"),
        "yes" if told["in_order"][name] else "no",
    )


def draw(told: Mapping[str, Any], title: str, file: Path) -> None:
    """Write an SVG: how long an append takes, and what of a processor, each way a bar."""
    # It takes a second, in each process that finds the tests.
    import matplotlib as mpl  # noqa: PLC0415 - as above
    from matplotlib.figure import Figure  # noqa: PLC0415 - as above

    mpl.rcParams["svg.hashsalt"] = "agentbus"  # the same results give the same file
    figure = Figure(figsize=(12, 4.5), layout="constrained")
    figure.suptitle(title)
    names = list(told["append_ms"])
    of = {one.name: one for one in CONTENDERS}
    for axes, (what, heading) in zip(figure.subplots(1, 2, sharey=True), _SHOWN.items(), strict=True):
        colors = ["#999999" if of[name].theirs else "#1f77b4" for name in names]
        bars = axes.barh([f"{of[name].what}: {of[name].store}" for name in names], told[what].values(), color=colors)
        axes.bar_label(bars, fmt="{:.2f}", fontsize=7)
        axes.set_title(heading)
        axes.margins(x=0.12)
    axes.invert_yaxis()
    figure.savefig(file, format="svg", metadata={"Date": None})


_SHOWN: Final = {"append_ms": "ms an append (median)", "append_cpu_ms": "ms of a processor, servers left out"}


def _ratio(ours: list[list[float]], others: list[list[float]]) -> float:
    return _of_each([median(block) for block in ours], [median(block) for block in others])


def _of_each(ours: list[float], others: list[float]) -> float:
    return median(one / other for one, other in zip(ours, others, strict=True))


def _rounded(value: float) -> float:
    return round(value, 3)
