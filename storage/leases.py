"""How long a lock's lease is: what every store does alike."""

from typing import Final

from pydantic import TypeAdapter

from contracts.base import Id
from storage.liveness import ttl_ms

_NAME: Final[TypeAdapter[str]] = TypeAdapter(Id)


def check_name(name: str) -> str:
    """Return a lock's name. Raises ValueError if it is no id."""
    return _NAME.validate_python(name)


def lease_ms(ttl: float) -> int:
    """Return `ttl` (seconds) in whole milliseconds, at least 1. Raises ValueError unless it is above 0."""
    if not ttl > 0:  # NaN neither.
        raise ValueError(f"ttl is {ttl} s, it must be above 0")
    return max(1, ttl_ms(ttl))
