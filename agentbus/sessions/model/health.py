"""Health: what of a session system works."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final


class HealthStatus(StrEnum):
    """How well a system works."""

    HEALTHY = "healthy"
    """Every part of it works."""
    DEGRADED = "degraded"
    """Sessions are read and changed; a part beside that does not work."""
    UNHEALTHY = "unhealthy"
    """Sessions can't be read or changed."""


_NEEDED: Final = frozenset({"store", "session_worker"})
"""The parts without which sessions can't be read or changed."""


class Health(dict[str, Any]):
    """A mapping with `status`, a HealthStatus, and `checks`: each part's name, whether it is healthy, what is known.

    It is true only while every part works, so that `if await manager.health_check():` asks for that.
    """

    def __init__(self, checks: Mapping[str, Mapping[str, Any]]) -> None:
        failing = {name for name, check in checks.items() if not check["healthy"]}
        status = HealthStatus.HEALTHY
        if failing:
            status = HealthStatus.UNHEALTHY if failing & _NEEDED else HealthStatus.DEGRADED
        super().__init__(status=status, checks=dict(checks))

    def __bool__(self) -> bool:
        return self["status"] is HealthStatus.HEALTHY
