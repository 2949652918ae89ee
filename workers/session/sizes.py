"""How large a state is, without measuring again what did not change."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from contracts.base import json_size
from contracts.session import RECENT_INPUTS, SessionState

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


class Sized:
    """A state and about how many bytes it takes as JSON."""

    __slots__ = ("parts", "size", "state")

    def __init__(self, state: SessionState, before: "Sized | None" = None) -> None:
        self.state = state
        self.parts: dict[str, int] = {
            name: before.parts[name]
            if before is not None and getattr(before.state, name) is getattr(state, name)
            else measure(getattr(state, name))
            for name, measure in _PARTS.items()
        }
        self.size = _ALWAYS + sum(self.parts.values())
