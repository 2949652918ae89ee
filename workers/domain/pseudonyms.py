"""Other names in the place of a user's ids, wherever in a contract they stand."""

from collections.abc import Mapping
from typing import Any, Final, TypeVar

from pydantic import BaseModel

Model = TypeVar("Model", bound=BaseModel)

# Not names that somebody gave: kinds, ids that we derive, and where an archive is.
_OURS: Final = frozenset(
    {
        "kind", "session_id", "conversation_id", "previous", "parent_id", "source", "deleted", "archived", "restored",
        "key", "target", "reply", "cause", "inputs", "recent_inputs", "blocked_by", "waiting",
        "stamp", "base", "clock", "archive", "url",
    }
)  # fmt: skip
_POINTERS: Final = frozenset({"field", "stamps", "bases"})


def renamed(model: Model, names: Mapping[str, str]) -> Model:
    """Return `model` with every text and key that equals one of `names` replaced; the same one if there is none.

    What AgentBus derived itself (session ids, message keys, stamps, input ids) stays. JSON pointers are changed step by
    step.
    """
    changes: dict[str, Any] = {}
    for name in type(model).model_fields:
        if name in _OURS:
            continue
        value = getattr(model, name)
        new = _pointers(value, names) if name in _POINTERS else _renamed(value, names)
        if new is not value:
            changes[name] = new
    return model.model_copy(update=changes) if changes else model


def renamed_json(value: Any, names: Mapping[str, str]) -> Any:
    """Return a JSON value likewise: every text and key that equals one of `names` is replaced."""
    return _renamed(value, names)


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    """Return a value with names replaced; the same object if nothing is."""
    if isinstance(value, BaseModel):
        return renamed(value, names)
    if type(value) is str:  # and no member of an enumeration
        return names.get(value, value)
    if isinstance(value, dict):
        items = {_renamed(key, names): _renamed(item, names) for key, item in value.items()}
        return value if items == value else items
    if isinstance(value, tuple | list | frozenset):
        parts = [_renamed(item, names) for item in value]
        return value if all(one is other for one, other in zip(parts, value, strict=True)) else type(value)(parts)
    return value


def _pointers(value: Any, names: Mapping[str, str]) -> Any:
    """Return a pointer, or a mapping by pointers, with names replaced."""
    if isinstance(value, str):
        steps = value.split("/")
        changed = [_escaped(names.get(_unescaped(step), _unescaped(step))) for step in steps]
        return value if changed == steps else "/".join(changed)
    items = {_pointers(pointer, names): item for pointer, item in value.items()}
    return value if items.keys() == value.keys() else items


def _escaped(step: str) -> str:
    return step.replace("~", "~0").replace("/", "~1")


def _unescaped(step: str) -> str:
    return step.replace("~1", "/").replace("~0", "~")
