"""How long a heartbeat and a lock's lease count: what every store does alike."""

from typing import Final

from pydantic import TypeAdapter

from agentbus.contracts.base import DEFERRED, Id

_NAME: Final[TypeAdapter[str]] = TypeAdapter(Id, config=DEFERRED)
_LONGEST: Final = 10**12
_FORGOTTEN_AFTER: Final = 100


def ttl_ms(ttl: float) -> int:
    """Return `ttl` (seconds) in whole milliseconds: 0 to about 31 years, so that dates are far from their limits."""
    return int(min(max(0.0, ttl * 1000), _LONGEST))


def forgotten_ms(ttl: float) -> int:
    """Return the age of a last heartbeat, in milliseconds, from which on a member may be forgotten."""
    return ttl_ms(ttl) * _FORGOTTEN_AFTER


def check_name(name: str) -> str:
    """Return a lock's name. Raises ValueError if it is no id."""
    return _NAME.validate_python(name)


def lease_ms(ttl: float) -> int:
    """Return `ttl` (seconds) in whole milliseconds, at least 1. Raises ValueError unless it is above 0."""
    if not ttl > 0:  # NaN neither.
        raise ValueError(f"ttl is {ttl} s, it must be above 0")
    return max(1, ttl_ms(ttl))
