"""How sessions were used, as bars: for the terminal, and as a picture, SVG or PNG.

A picture is rectangles and words, placed once for both: SVG is written by hand, PNG drawn by Pillow.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Final

from agentbus.contracts.errors import ConfigurationError
from agentbus.contracts.extras import importing_extras
from agentbus.workers.domain.tracking.patterns import Patterns, Period

Bars = Sequence[tuple[str, int]]

WEEKDAYS: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

_WIDTH: Final = 900
_CHART: Final = 220
_TITLE: Final = 34
_LABEL: Final = 26
_SMALL, _LARGE = 11, 15
_INK, _FILL = "#333333", "#4477aa"
_SCALE: Final = 2
"""Pixels of a PNG for each unit."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle, in units from the upper left; `name` says what it counts."""

    left: float
    top: float
    width: float
    height: float
    name: str


@dataclass(frozen=True, slots=True)
class Words:
    """Words that stand on a line."""

    left: float
    base: float
    size: int
    text: str


def charts_of(found: Patterns, period: Period) -> list[tuple[str, Bars]]:
    """Return what is drawn of usage patterns: hours, weekdays and the trend, each with its title."""
    shown = "%Y-%m-%d %H:00" if period is Period.HOUR else "%Y-%m-%d"
    return [
        ("People's messages by hour", [(f"{hour:02}", count) for hour, count in enumerate(found.by_hour)]),
        ("By weekday", list(zip(WEEKDAYS, found.by_weekday, strict=True))),
        (f"Messages by {period}", [(f"{step.begins:{shown}}", step.messages) for step in found.trend]),
    ]


def write_picture(charts: Sequence[tuple[str, Bars]], file: Path) -> None:
    """Write charts to a picture: PNG or SVG, by the file's name.

    Raises ConfigurationError for another kind, where Pillow is missing (PNG), and if the file can't be written.
    """
    match file.suffix.lower():
        case ".svg":
            drawn = svg_of(charts).encode()
        case ".png":
            drawn = png_of(charts)
        case _:
            raise ConfigurationError(f"{file} is no picture that can be written: one ends with .png or .svg")
    try:
        file.write_bytes(drawn)
    except OSError as error:
        raise ConfigurationError(f"{file} can't be written: {error.strerror}") from error


def svg_of(charts: Sequence[tuple[str, Bars]]) -> str:
    """Return charts, one below the other, as SVG."""
    style = f"font-family:sans-serif;font-size:{_SMALL}px;fill:{_INK}"
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_height(charts)}" style="{style}">']
    for one in _placed(charts):
        match one:
            case Bar():
                place = f'x="{one.left:.1f}" y="{one.top:.1f}" width="{one.width:.1f}" height="{one.height:.1f}"'
                parts.append(f'<rect {place} fill="{_FILL}"><title>{escape(one.name)}</title></rect>')
            case Words():
                place = f'x="{one.left:.1f}" y="{one.base:.1f}" style="font-size:{one.size}px"'
                parts.append(f"<text {place}>{escape(one.text)}</text>")
    return "\n".join([*parts, "</svg>", ""])


def png_of(charts: Sequence[tuple[str, Bars]]) -> bytes:
    """Return charts, one below the other, as PNG. Raises ConfigurationError where Pillow is missing."""
    with importing_extras():
        from PIL import Image, ImageDraw, ImageFont  # noqa: PLC0415 - an extra, for who draws
    image = Image.new("RGB", (_WIDTH * _SCALE, _height(charts) * _SCALE), "white")
    draw = ImageDraw.Draw(image)
    fonts = {size: ImageFont.load_default(size * _SCALE) for size in (_SMALL, _LARGE)}
    for one in _placed(charts):
        match one:
            case Bar():
                if one.height:
                    corners = (one.left, one.top, one.left + one.width, one.top + one.height)
                    draw.rectangle([round(edge * _SCALE) for edge in corners], fill=_FILL)
            case Words():
                at = (one.left * _SCALE, one.base * _SCALE)
                draw.text(at, one.text, fill=_INK, font=fonts[one.size], anchor="ls")
    drawn = BytesIO()
    image.save(drawn, "PNG")
    return drawn.getvalue()


def _height(charts: Sequence[tuple[str, Bars]]) -> int:
    return max(1, len(charts)) * (_TITLE + _CHART + _LABEL)


def _placed(charts: Sequence[tuple[str, Bars]]) -> Iterator[Bar | Words]:
    for number, (title, bars) in enumerate(charts):
        yield from _chart(title, bars, number * (_TITLE + _CHART + _LABEL))


def _chart(title: str, bars: Bars, top: int) -> Iterator[Bar | Words]:
    most = max((count for _, count in bars), default=0)
    step = _WIDTH / max(1, len(bars))
    shown = max(1, round(60 / step))
    yield Words(4, top + 20, _LARGE, title)
    for place, (name, count) in enumerate(bars):
        high = _CHART * count / most if most else 0.0
        left = place * step + step * 0.1
        yield Bar(left, top + _TITLE + _CHART - high, step * 0.8, high, f"{name}: {count}")
        if place % shown == 0:
            yield Words(left, top + _TITLE + _CHART + 15, _SMALL, name)
