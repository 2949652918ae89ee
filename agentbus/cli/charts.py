"""Bars as an SVG picture: written by hand, as it takes a rectangle a bar, and no library."""

from collections.abc import Sequence
from html import escape
from typing import Final

Bars = Sequence[tuple[str, int]]

_WIDTH: Final = 900
_CHART: Final = 220
_TITLE: Final = 34
_LABEL: Final = 26
_STYLE: Final = "font-family:sans-serif;font-size:11px;fill:#333"


def svg_of(charts: Sequence[tuple[str, Bars]]) -> str:
    """Return charts, each with its title, one below the other."""
    height = len(charts) * (_TITLE + _CHART + _LABEL)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" style="{_STYLE}">']
    for number, (title, bars) in enumerate(charts):
        parts += _chart(title, bars, number * (_TITLE + _CHART + _LABEL))
    return "\n".join([*parts, "</svg>", ""])


def _chart(title: str, bars: Bars, top: int) -> list[str]:
    most = max((count for _, count in bars), default=0)
    step = _WIDTH / max(1, len(bars))
    shown = max(1, round(60 / step))
    lines = [f'<text x="4" y="{top + 20}" style="font-size:15px">{escape(title)}</text>']
    for place, (name, count) in enumerate(bars):
        high = _CHART * count / most if most else 0.0
        left, upper = place * step, top + _TITLE + _CHART - high
        lines.append(
            f'<rect x="{left + step * 0.1:.1f}" y="{upper:.1f}" width="{step * 0.8:.1f}" height="{high:.1f}"'
            f' fill="#4477aa"><title>{escape(name)}: {count}</title></rect>'
        )
        if place % shown == 0:
            lines.append(f'<text x="{left + step * 0.1:.1f}" y="{top + _TITLE + _CHART + 15}">{escape(name)}</text>')
    return lines
