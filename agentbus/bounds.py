"""Bounds of the log: no line is longer than is useful, and a library that repeats itself is heard once a minute."""

import logging
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any, Final

from agentbus.contracts.outages import REMIND_SECONDS
from agentbus.contracts.urls import masked_in

LONGEST_VALUE: Final = 2_000
"""Characters of one value of a line; what is cut off is counted."""

_MOST_KNOWN: Final = 1_000


def bounded(line: Mapping[str, Any]) -> dict[str, Any]:
    """Return a line with long texts cut and the credentials of URLs masked."""
    return {name: _bounded(value) for name, value in line.items()}


def _bounded(value: Any) -> Any:
    if isinstance(value, str):
        return _cut(masked_in(value))
    if isinstance(value, Mapping | list | tuple | set | frozenset) and len(text := str(value)) > LONGEST_VALUE:
        return _cut(masked_in(text))
    return value


def _cut(text: str) -> str:
    left = len(text) - LONGEST_VALUE
    return f"{text[:LONGEST_VALUE]}... ({left} characters more)" if left > 0 else text


class FewRepeats(logging.Filter):
    """Lets the same message of a logger through once in `every` seconds, with how often it was held back.

    asyncio says of each connection that it can't accept for want of file handles that it can't: two million lines in
    half a minute.
    """

    def __init__(self, clock: Callable[[], float] = monotonic, *, every: float = REMIND_SECONDS) -> None:
        super().__init__()
        self._clock = clock
        self._every = every
        self._said: dict[tuple[str, int, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to print `record`; it is cut and masked besides."""
        kind = (record.name, record.levelno, str(record.msg).partition("\n")[0][:200])
        now = self._clock()
        since, held_back = self._said.get(kind, (float("-inf"), 0))
        if now - since < self._every:
            self._said[kind] = (since, held_back + 1)
            return False
        if len(self._said) >= _MOST_KNOWN:
            self._said.clear()
        self._said[kind] = (now, 0)
        again = f" ({held_back} times more in between)" if held_back else ""
        record.msg, record.args = _cut(masked_in(record.getMessage())) + again, ()
        return True
