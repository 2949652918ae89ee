"""A component whose attributes are kept: what it is made of, as JSON, and back."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final, TypeAlias

from pydantic import JsonValue

from agentbus.contracts.errors import StateError, StateMismatch

State: TypeAlias = dict[str, JsonValue]
"""What a component is made of, as JSON: an attribute or a nested component's state by name."""

ToJson: TypeAlias = Callable[[Any], JsonValue]
FromJson: TypeAlias = Callable[[Any], Any]

_REGISTERED: Final = "_registered_state"
_SHOWN: Final = 10
"""Names that an error lists."""


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What loading found different from the component; paths are like `memory.turns`."""

    missing: tuple[str, ...] = ()
    """What the component has and the state does not: it kept its value."""
    unexpected: tuple[str, ...] = ()
    """What the state has and the component does not: it was passed over."""

    @property
    def complete(self) -> bool:
        """Whether nothing was missing, and nothing unexpected."""
        return not (self.missing or self.unexpected)

    def raise_if_incomplete(self) -> None:
        """Raise StateMismatch unless it is complete."""
        if not self.complete:
            parts = [
                f"{what}: {', '.join(names[:_SHOWN])}{' ...' if len(names) > _SHOWN else ''}"
                for what, names in (("missing", self.missing), ("unexpected", self.unexpected))
                if names
            ]
            raise StateMismatch(f"{'; '.join(parts)}: load with strict=False to take what fits")


@dataclass(frozen=True, slots=True)
class _Conversion:
    to_json: ToJson | None
    from_json: FromJson | None


@dataclass(frozen=True, slots=True)
class _Assignment:
    module: "StateModule"
    name: str
    value: Any
    path: str


@dataclass(frozen=True, slots=True)
class Loading:
    """What a state would change; nothing is changed before `apply`."""

    report: LoadReport
    assignments: Sequence[_Assignment]

    @staticmethod
    def apply(*loadings: "Loading") -> None:
        """Change the components, all or none. Raises StateError for an attribute that does not take its value."""
        before: list[tuple[StateModule, str, Any]] = []
        for one in (assignment for loading in loadings for assignment in loading.assignments):
            try:
                before.append((one.module, one.name, getattr(one.module, one.name)))
                setattr(one.module, one.name, one.value)
            except BaseException as error:
                for module, name, value in reversed(before):
                    with suppress(Exception):  # it may refuse what it has, too
                        setattr(module, name, value)
                if not isinstance(error, Exception):
                    raise
                raise StateError(f"{one.path}: it can't be set: {type(error).__name__}") from error


class StateModule:
    """A component with a state: the attributes that it registers, and the components that it holds.

    Held components are found by themselves: an attribute that is a `StateModule`, or a list, tuple or dict (with texts
    as keys) of nothing but such. A component that holds one above it, as its parent for one, does not include it again.
    `__init__` need not be called.
    """

    @property
    def component_name(self) -> str:
        """The name under which it is kept: its class's in camelCase. A class attribute of this name is another one."""
        return camel_case(type(self).__name__)

    @property
    def registered_attributes(self) -> tuple[str, ...]:
        """The names registered, in their order."""
        return tuple(_conversions_of(self))

    def register_state(self, name: str, to_json: ToJson | None = None, from_json: FromJson | None = None) -> None:
        """Keep an attribute. Registering it again takes the new conversions.

        `to_json` makes JSON of its value, and `from_json` a value of that. Without them it has to be JSON as it is:
        None, bool, int, float, str, and lists and dicts of these. Raises StateError if there is no such attribute.
        """
        if not hasattr(self, name):
            raise StateError(f"{type(self).__name__} has no attribute {name!r}: set it before it is registered")
        _conversions_of(self)[name] = _Conversion(to_json, from_json)

    def unregister_state(self, name: str) -> bool:
        """Keep an attribute no longer; return whether it was registered."""
        return _conversions_of(self).pop(name, None) is not None

    def clear_registered_state(self) -> None:
        """Keep no attributes; components that it holds are still found."""
        _conversions_of(self).clear()

    def state_dict(self) -> State:
        """Return the state, as JSON of its own: later changes of the component do not change it.

        Raises StateError, with its path, for a value that would not come back as it is.
        """
        try:
            return _state_of(self, "", (self,))
        except RecursionError:
            raise StateError(f"{type(self).__name__} holds components nested too deep") from None

    def load_state_dict(self, state: Mapping[str, JsonValue], strict: bool = True) -> LoadReport:
        """Take the attributes from a state, in held components too; return what was different.

        All or nothing: whatever it raises, the component is as it was. `strict`: raises StateMismatch if anything is
        missing or unexpected, at any depth; otherwise what is missing keeps its value. Raises StateError for a state
        that is not JSON, that `from_json` or the attribute does not take, or that has something else where a held
        component is.
        """
        loading = prepare(self, state)
        if strict:
            loading.report.raise_if_incomplete()
        Loading.apply(loading)
        return loading.report


def prepare(module: StateModule, state: Mapping[str, JsonValue], path: str = "") -> Loading:
    """Return what loading `state` would change in `module`. Raises StateError as `load_state_dict`."""
    missing, unexpected, assignments = list[str](), list[str](), list[_Assignment]()

    def walk(module: StateModule, state: object, path: str, above: tuple[StateModule, ...]) -> None:
        if not isinstance(state, Mapping):
            raise StateError(f"{path or 'the state'} is a component, and the state has {_kind(state)} there")
        conversions, held = _conversions_of(module), dict(_held_by(module, above))
        names = conversions.keys() | held.keys()
        unexpected.extend(path + str(name) for name in state.keys() - names)
        missing.extend(path + name for name in names - state.keys())
        for name in names & state.keys():
            if name in held:
                walk_all(held[name], state[name], f"{path}{name}", above)
            else:
                value = _value_of(conversions[name], state[name], path + name)
                assignments.append(_Assignment(module, name, value, path + name))

    def walk_all(held: "_Held", state: object, path: str, above: tuple[StateModule, ...]) -> None:
        if isinstance(held, StateModule):
            walk(held, state, f"{path}.", (*above, held))
            return
        if not isinstance(state, Mapping):
            raise StateError(f"{path} holds components, and the state has {_kind(state)} there")
        unexpected.extend(f"{path}.{key}" for key in state.keys() - held.keys())
        missing.extend(f"{path}.{key}" for key in held.keys() - state.keys())
        for key in held.keys() & state.keys():
            walk(held[key], state[key], f"{path}.{key}.", (*above, held[key]))

    try:
        walk(module, state, path, (module,))
    except RecursionError:
        raise StateError(f"{path or 'the state'} has components nested too deep") from None
    return Loading(LoadReport(tuple(sorted(missing)), tuple(sorted(unexpected))), assignments)


def camel_case(name: str) -> str:
    """Return a class's name in camelCase: `MemoryStore` is `memoryStore`, `HTTPTool` `httpTool`."""
    return re.sub(r"^_*([A-Z]+(?=[A-Z][a-z])|[A-Z]+(?![a-z])|[A-Z])", lambda found: found[1].lower(), name)


def _conversions_of(module: StateModule) -> dict[str, _Conversion]:
    """Return what a component registered; kept in itself, as `__init__` need not be called."""
    registered: dict[str, _Conversion] = vars(module).setdefault(_REGISTERED, {})
    return registered


_Held: TypeAlias = StateModule | dict[str, StateModule]
"""A component that another one holds, or several by their key or place."""


def _held_by(module: StateModule, above: Sequence[StateModule]) -> Iterator[tuple[str, _Held]]:
    """Yield the components that one holds, by the name of the attribute, but for those `above` it."""
    conversions = _conversions_of(module)
    attributes = {**vars(module), **{name: getattr(module, name) for name in conversions}}
    for name, value in attributes.items():
        if name != _REGISTERED and not (name in conversions and conversions[name].to_json):
            held = _as_held(value)
            if isinstance(held, StateModule) and not _is_among(above, held):
                yield name, held
            elif isinstance(held, dict):
                yield name, {key: one for key, one in held.items() if not _is_among(above, one)}


def _as_held(value: object) -> _Held | None:
    match value:
        case StateModule():
            return value
        case list() | tuple() if value and all(isinstance(one, StateModule) for one in value):
            return {str(place): one for place, one in enumerate(value)}
        case dict() if value and all(isinstance(k, str) and isinstance(one, StateModule) for k, one in value.items()):
            return dict(value)
        case _:
            return None


def _is_among(modules: Sequence[StateModule], one: StateModule) -> bool:
    return any(one is module for module in modules)


def _state_of(module: StateModule, path: str, above: tuple[StateModule, ...]) -> State:
    held = dict(_held_by(module, above))
    state: State = {}
    for name, conversion in _conversions_of(module).items():
        if name not in held:
            state[name] = _json_of(conversion, getattr(module, name), path + name)
    for name, nested in held.items():
        if isinstance(nested, StateModule):
            state[name] = _state_of(nested, f"{path}{name}.", (*above, nested))
        else:
            state[name] = {key: _state_of(one, f"{path}{name}.{key}.", (*above, one)) for key, one in nested.items()}
    return state


def _json_of(conversion: _Conversion, value: Any, path: str) -> JsonValue:
    if conversion.to_json:
        try:
            value = conversion.to_json(value)
        except Exception as error:
            raise StateError(f"{path}: to_json failed with {type(error).__name__}") from error
    return _checked(value, path, " and would not come back as it is: register it with to_json and from_json")


def _checked(value: object, path: str, advice: str = "") -> JsonValue:
    """Return a copy of what is JSON through and through. Raises StateError."""
    if value is None or type(value) in {bool, int, str} or (type(value) is float and isfinite(value)):
        return value  # type: ignore[return-value]  # each of these types is one of JSON's
    try:
        if type(value) is list:
            return [_checked(item, f"{path}[{place}]", advice) for place, item in enumerate(value)]
        if type(value) is dict and all(type(key) is str for key in value):
            return {key: _checked(item, f"{path}.{key}", advice) for key, item in value.items()}
    except RecursionError:
        raise StateError(f"{path[:100]}: nested too deep, or in itself") from None
    raise StateError(f"{path}: {_kind(value)} is not JSON{advice}")


def _value_of(conversion: _Conversion, state: JsonValue, path: str) -> Any:
    state = _checked(state, path)
    if conversion.from_json is None:
        return state
    try:
        return conversion.from_json(state)
    except Exception as error:
        raise StateError(f"{path}: from_json failed with {type(error).__name__}") from error


def _kind(value: object) -> str:
    if type(value) is float:
        return "a number that is not finite"
    if type(value) is dict:
        return "a dict with keys that are no texts"
    return "nothing" if value is None else f"a {type(value).__name__}"
