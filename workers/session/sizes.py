"""How large a state is, without measuring again what did not change; and who is told of a large one."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from operator import attrgetter, is_
from types import MappingProxyType
from typing import Any, Final

from agentbus.contracts.base import json_size
from agentbus.contracts.ids import SessionId
from agentbus.contracts.session import RECENT_INPUTS, SessionState
from agentbus.contracts.telemetry import Action
from agentbus.storage.log_lines import Logger
from agentbus.workers.delivery.telemetry import WorkerMetrics
from agentbus.workers.domain.checks.limits import MAX_SESSION_BYTES, MAX_STAMP_BYTES
from agentbus.workers.outages import sparingly

_ALWAYS: Final = 2_000 + 40 * RECENT_INPUTS
"""Bytes, about, of a state's small fields."""


def _of_models(models: tuple[Any, ...]) -> int:
    return sum(len(one.model_dump_json()) for one in models)


def _of_stamps(stamps: Mapping[str, Any]) -> int:
    return sum(100 + len(field) for field in stamps)


_PARTS: Final[Mapping[str, Callable[[Any], int]]] = MappingProxyType(
    {
        "data": json_size,
        "metadata": json_size,
        "stamps": _of_stamps,
        "conflicts": _of_models,
        "turned_down": _of_models,
        "profile": lambda profile: len(profile.model_dump_json()),
        "waiting": lambda waiting: 70 * len(waiting),
    }
)
"""The fields that may be large: a commit that leaves one as it was leaves the same object."""

_parts_of: Final = attrgetter(*_PARTS)

_LIMITS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "data": MAX_SESSION_BYTES,
        "metadata": MAX_SESSION_BYTES,
        "stamps": MAX_STAMP_BYTES,
        "conflicts": MAX_SESSION_BYTES,
    }
)
"""The most bytes that the domain lets a part grow to, about."""

_WARNED_AT: Final = 0.5
_MOST_KNOWN: Final = 1000

_log = Logger(__name__)


class Sized:
    """A state and about how many bytes it takes as JSON."""

    __slots__ = ("parts", "size", "state")

    def __init__(self, state: SessionState, before: "Sized | None" = None) -> None:
        self.state = state
        values = _parts_of(state)
        then = _parts_of(before.state) if before is not None else ()
        self.parts: tuple[int, ...]
        if before is not None and all(map(is_, then, values)):  # as most messages leave it
            self.parts = before.parts
        else:
            self.parts = tuple(
                before.parts[place] if before is not None and then[place] is value else measure(value)
                for place, (value, measure) in enumerate(zip(values, _PARTS.values(), strict=True))
            )
        self.size = _ALWAYS + sum(self.parts)


class LargeSessions:
    """Says once of each session that it holds more than half of what one may; what did not change is not measured."""

    def __init__(self, metrics: WorkerMetrics) -> None:
        self._metrics = metrics
        self._known: OrderedDict[SessionId, None] = OrderedDict()

    def look(self, before: SessionState, after: SessionState) -> None:
        """Look at what a commit made of a state."""
        for part, limit in _LIMITS.items():
            value = getattr(after, part)
            if value is not getattr(before, part) and (size := _PARTS[part](value)) > limit * _WARNED_AT:
                self._tell(after.session_id, part, size, limit)

    def _tell(self, session: SessionId, part: str, size: int, limit: int) -> None:
        if session in self._known:
            self._known.move_to_end(session)
            return
        self._known[session] = None
        if len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)
        self._metrics.large_sessions.inc()
        more = sparingly(Action.SESSION_LARGE)
        if more is not None:
            _log.warning(Action.SESSION_LARGE, session=session, part=part, bytes=size, limit=limit, **more)
