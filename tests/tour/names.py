"""What there is to show: the public names of the session API, found by looking at it."""

import inspect
from types import ModuleType
from typing import Any, Final

import agentbus.sessions

_MEMBERS: Final = (staticmethod, classmethod, property)


def public_names(module: ModuleType = agentbus.sessions) -> list[str]:
    """Return every exported name, and `Class.method` for the public methods and properties that it has of ours."""
    exported = {name: getattr(module, name) for name in module.__all__}
    classes = {name: value for name, value in exported.items() if inspect.isclass(value)}
    found = list(exported)
    for name, kind in classes.items():
        others = [other for other in classes.values() if other is not kind and issubclass(kind, other)]
        inherited = {member for other in others for member in _members(other)}
        found += [f"{name}.{member}" for member in _members(kind) if member not in inherited]
    return found


def _is_of_the_library(module: str) -> bool:
    below = ("agentbus.contracts.", "agentbus.storage.", "agentbus.workers.")
    return module.startswith("agentbus.") and not module.startswith(below)


def _members(kind: type) -> list[str]:
    """Return the public methods and properties of a class, those of its bases in the library included."""
    ours = [base for base in reversed(kind.__mro__) if _is_of_the_library(base.__module__)]
    members: dict[str, Any] = {name: value for base in ours for name, value in vars(base).items()}
    return [
        name
        for name, value in members.items()
        if not name.startswith("_") and (inspect.isfunction(value) or isinstance(value, _MEMBERS))
    ]
