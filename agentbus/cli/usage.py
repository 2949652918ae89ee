"""`agentbus stats`: how sessions are used."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from agentbus.cli import options
from agentbus.cli.connecting import connecting
from agentbus.cli.output import out, print_fields, print_json
from agentbus.composition.app import make_store
from agentbus.operations.tracking import (
    WEEKDAYS,
    Bars,
    Patterns,
    Period,
    charts_of,
    usage_patterns,
    write_picture,
)
from agentbus.settings import Settings

_WIDTH: Final = 40


@connecting("store", "wait")
async def stats(
    picture: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", dir_okay=False, help="With --plot: a picture to write, .png or .svg."),
    ] = None,
    *,
    settings: Settings,
    days: Annotated[float, typer.Option(min=0.04, max=3660, help="Look back on so many days.")] = 30.0,
    zone: Annotated[str, typer.Option(metavar="ZONE", help="The time zone of hours and weekdays.")] = "UTC",
    period: Annotated[Period, typer.Option(help="What the trend goes by.")] = Period.DAY,
    plot: Annotated[bool, typer.Option("--plot", help="Draw hours, weekdays and the trend as bars.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Show how sessions were used: when, how much, who waited for whom, where it is going.

    By the figures that tracking workers keep, up to some seconds ago: agentbus worker tracking. With --plot FILE the
    bars go to a picture, and not to the terminal.
    """
    if picture and not plot:
        raise typer.BadParameter(f"{picture} is a picture to write: --plot {picture}")
    async with make_store(settings) as store:
        found = await usage_patterns(store, days=days, zone=zone, period=period)
    charts = charts_of(found, period)
    if picture:
        write_picture(charts, picture)
    if as_json:
        print_json(asdict(found))
        return
    print_fields(_fields(found))
    for title, bars in charts if plot and not picture else ():
        _draw(title, bars)


def _fields(found: Patterns) -> dict[str, Any]:
    hour = _peak([f"{hour:02}:00" for hour in range(24)], found.by_hour)
    return {
        "conversations": found.conversations,
        "returning": found.returning,
        "sessions": found.sessions,
        "ended": found.ended,
        "messages": found.messages,
        "types": found.types,
        "busiest_hour": hour,
        "busiest_weekday": _peak(WEEKDAYS, found.by_weekday),
        "asked": found.asked,
        "unanswered": found.unanswered,
        **{f"{name}_seconds": _waited(wait) for name, wait in found.waits.items()},
        "bursts": found.bursts,
        "unusual_hours": len(found.unusual),
        "longest_silence_hours": max((silence.hours for silence in found.silences), default=None),
    }


def _peak(names: "tuple[str, ...] | list[str]", counts: "tuple[int, ...]") -> str | None:
    return names[max(range(len(counts)), key=counts.__getitem__)] if any(counts) else None


def _waited(wait: dict[str, float | int | None]) -> str | None:
    if not wait["count"]:
        return None
    return f"median {wait['median']:.1f}, mean {wait['mean']:.1f}, 95 % within {wait['p95']:.1f}, of {wait['count']}"


def _draw(title: str, bars: Bars) -> None:
    most = max((count for _, count in bars), default=0)
    out.print(f"\n{title}", style="bold", markup=False)
    for name, count in bars:
        bar = "█" * round(_WIDTH * count / most) if most else ""
        out.print(f"{name:>16} {bar} {count}", markup=False)
