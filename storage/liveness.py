"""How old a worker's last heartbeat may be: what every store does alike."""

from typing import Final

_LONGEST: Final = 10**12
_FORGOTTEN_AFTER: Final = 100


def ttl_ms(ttl: float) -> int:
    """Return `ttl` (seconds) in whole milliseconds: 0 to about 31 years, so that dates are far from their limits."""
    return int(min(max(0.0, ttl * 1000), _LONGEST))


def forgotten_ms(ttl: float) -> int:
    """Return the age of a last heartbeat, in milliseconds, from which on a member may be forgotten."""
    return ttl_ms(ttl) * _FORGOTTEN_AFTER
