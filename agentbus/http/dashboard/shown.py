"""What people wrote, made fit to be looked at: nothing in it may turn, hide or overrun what stands around it."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import quote, urlencode

from markupsafe import Markup, escape

from agentbus.contracts.text import encodable

LONGEST: Final = 20_000
"""Characters of one text that a page shows, unless it says otherwise."""

_UNSEEN: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f]"
)
"""Controls, those of writing direction among them, and what takes no room. Joiners stay: emoji need them."""

_TICKED: Final = re.compile("`([^`]+)`")
_AGES: Final = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
_UNITS: Final = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


def visible(text: str, most: int = LONGEST) -> str:
    """Return a text with what can't be seen in it named, `⟦202E⟧`, and cut after `most` characters, which is said."""
    kept = _UNSEEN.sub(lambda found: f"⟦{ord(found[0]):04X}⟧", encodable(text[:most]))
    return kept if len(text) <= most else f"{kept}… ({len(text) - most:,} more characters)"


def finalize(value: object) -> object:
    """Return what a page has in the place of a value: each goes through here before it is escaped."""
    if value is None:
        return ""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def exact(text: str) -> Markup:
    """Return a text as it is, escaped: for what a form sends back. Line ends are a browser's own."""
    return escape(encodable(text))


def ticked(text: str) -> Markup:
    """Return a sentence of ours, in which `this` is code."""
    return Markup(_TICKED.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704 - all of it was escaped


def short(text: object, most: int = 80) -> str:
    """Return the beginning of a text, on one line."""
    line = " ".join(str(text)[: most * 4].split())
    return line if len(line) <= most else f"{line[:most]}…"


def ago(moment: datetime | None, now: datetime) -> str:
    """Return how long something was before now, or is after it, in one unit."""
    if moment is None:
        return "never"
    seconds = (now - moment).total_seconds()
    unit = next(((size, name) for size, name in _AGES if abs(seconds) >= size), None)
    if unit is None:
        return "now"
    words = f"{abs(seconds) // unit[0]:.0f} {unit[1]}"
    return f"{words} ago" if seconds > 0 else f"in {words}"


def moment(value: datetime) -> str:
    """Return a moment in UTC, to the second."""
    return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def lasting(seconds: float | timedelta | None) -> str:
    """Return how long something takes."""
    if seconds is None:
        return ""
    length = seconds.total_seconds() if isinstance(seconds, timedelta) else seconds
    unit = next(((size, name) for size, name in _AGES if length >= size), (1, "s"))
    return f"{length / unit[0]:.3g} {unit[1]}"


def size(count: int) -> str:
    """Return bytes as people write them."""
    unit = next(((size, name) for size, name in _UNITS if count >= size), None)
    return f"{count / unit[0]:.1f} {unit[1]}" if unit else f"{count} B"


def figures(of: Mapping[str, Any], count: str = "count") -> str:
    """Return the numbers of something by name, and which of its flags are set; `count` is what `count` counts.

    What holds numbers of its own gives those that are not 0.
    """
    words: list[str] = []
    for name, value in of.items():
        if isinstance(value, Mapping):
            words += filter(None, [figures({one: held for one, held in value.items() if held})])
        elif isinstance(value, bool):
            words += [name.replace("_", " ")] if value else []
        elif isinstance(value, int):
            words.append(f"{count if name == 'count' else name.replace('_', ' ')} {value:,}")
    return ", ".join(words)


def path(*parts: object) -> str:
    """Return the path of these parts, each of which may hold anything."""
    return "".join(f"/{quote(encodable(str(part)), safe='')}" for part in parts)


def link(where: str, query: Mapping[str, Any]) -> str:
    """Return a path with what is asked of it; empty values are left out."""
    asked = [
        (name, encodable(str(one)))
        for name, value in query.items()
        for one in (value if isinstance(value, list | tuple) else [value])
        if one not in (None, "")
    ]
    return f"{where}?{urlencode(asked)}" if asked else where


def hexdump(body: bytes, most: int = 512) -> str:
    """Return the first bytes of something, sixteen a line."""
    lines = []
    for at in range(0, min(len(body), most), 16):
        line = body[at : min(at + 16, most)]
        letters = "".join(chr(one) if 32 <= one < 127 else "." for one in line)
        lines.append(f"{at:06x}  {line.hex(' '):<47}  {letters}")
    return "\n".join(lines)
