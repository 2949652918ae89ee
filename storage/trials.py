"""Attempts at an input that may have killed its worker: what tells one from the next."""

from typing import Final
from uuid import uuid4

_SEPARATOR: Final = "\x1f"
"""No id holds a control character."""


def attempt_at(key: str, attempt: str) -> str:
    """Return a key of one attempt: `begin_trial` counts it once, however often it is called."""
    return f"{key}{_SEPARATOR}{attempt}"


def attempt_of(key: str) -> tuple[str, str]:
    """Return the input and the attempt that a key names; a new attempt if it names none."""
    tried, _, attempt = key.partition(_SEPARATOR)
    return tried, attempt or uuid4().hex


def attempts_between(key: str) -> tuple[str, str]:
    """Return the bounds, themselves left out, of the keys of all attempts at `key`, for stores that keep one a row."""
    return f"{key}{_SEPARATOR}", f"{key}{chr(ord(_SEPARATOR) + 1)}"
