"""What every contract shares: frozen models, UTC timestamps in milliseconds, bounded text and JSON."""

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from math import isfinite
from typing import Annotated, Any, Final, TypeAlias, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, JsonValue, StringConstraints
from pydantic.json_schema import SkipJsonSchema

MAX_ID_LENGTH: Final = 255
"""Longest id of any kind, in characters."""

MAX_TEXT_LENGTH: Final = 262_144
"""Longest text of one message, in characters. Longer content belongs into an attachment, by reference."""

MAX_DATA_BYTES: Final = 262_144
"""Largest JSON object of session data or metadata in one input, in bytes of compact JSON (about)."""

MAX_INPUT_BYTES: Final = 4 * 1024 * 1024
"""Largest body of one input, in bytes. What is larger is parked without being parsed: parsing takes its time, and
nothing else goes on meanwhile."""

MAX_INTEGER: Final = 2**63 - 1
"""The largest integer that every store keeps."""

_MAX_JSON_DEPTH: Final = 32
_INT64_MIN: Final = -(2**63)


Element = TypeVar("Element")

Many: TypeAlias = Annotated[tuple[Element, ...], Field(fail_fast=True)]
"""Any number of elements. Checking ends at the first that is wrong: pydantic would keep an error for each of a
million."""


DEFERRED: Final = ConfigDict(defer_build=True)
"""What checks a model is built when it is first used: of all that are imported, a program uses few."""


class Contract(BaseModel):
    """Something that travels or is kept: frozen, and strict about names it does not know.

    What is wrong with one is told without what it holds: that may be a person's text or a secret.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, defer_build=True)


class Announced(BaseModel):
    """A contract that others read from us: frozen; readers pass over fields added by a later release."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True, defer_build=True)


Model = TypeVar("Model", bound=BaseModel)


def build(*kinds: type[BaseModel]) -> None:
    """Build what checks these models now, and not with the first of each: of an envelope that takes 0.1 s and more."""
    for kind in kinds:
        kind.model_rebuild()


def constructed(kind: type[Model], **fields: Any) -> Model:
    """Return a model of values that were checked when they came in: `model_construct` for what every message causes.

    That takes longer than to check all of it again, this a third of it.
    """
    defaults = _defaults_of(kind)
    return _as_model(kind, {**defaults, **fields}, {*fields})


def replaced(model: Model, changes: Mapping[str, Any]) -> Model:
    """Return `model` with other values of some fields, as `model_copy` does in twice the time: for every event."""
    return _as_model(type(model), {**model.__dict__, **changes}, model.__pydantic_fields_set__.union(changes))


@cache
def _defaults_of(kind: type[BaseModel]) -> Mapping[str, Any]:
    """Return a model's fields in their order, with their defaults. Raises TypeError if one is made anew each time."""
    for name, field in kind.model_fields.items():
        if field.default_factory is not None:
            raise TypeError(f"{kind.__name__}.{name} has a default that is made anew each time: it would be shared")
    return {name: field.default for name, field in kind.model_fields.items()}


_set: Final = object.__setattr__  # a frozen model has no other way, and pydantic takes this one itself


def _as_model(kind: type[Model], values: dict[str, Any], given: set[str]) -> Model:
    model = kind.__new__(kind)
    _set(model, "__dict__", values)
    _set(model, "__pydantic_fields_set__", given)
    _set(model, "__pydantic_extra__", None)
    _set(model, "__pydantic_private__", None)
    return model


def to_utc_milliseconds(moment: datetime) -> datetime:
    """Return `moment` in UTC, cut to milliseconds: the precision that every store keeps.

    Raises ValueError for a moment that UTC's calendar (years 1 to 9999) does not have.
    """
    if moment.tzinfo is UTC and not moment.microsecond % 1000:
        return moment
    try:
        moment = moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("outside the years 1 to 9999 in UTC") from None
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


Timestamp = Annotated[AwareDatetime, AfterValidator(to_utc_milliseconds)]
"""A moment with a time zone (required on input), kept in UTC with millisecond precision."""


def nothing(value: object) -> bool:
    """Whether a field has no value: it is not written then, so that what was kept before it was there is the same."""
    return value is None


class Sealable(Announced):
    """What a store may keep encrypted: what people wrote is not in its fields then, but in `sealed`."""

    sealed: SkipJsonSchema[str | None] = Field(
        default=None, exclude_if=nothing, repr=False, description="Ciphertext; never seen outside of a store."
    )


# No C0 control characters: ids go into keys, headers, file names and log lines.
_ID_PATTERN: Final = r"^[^\x00-\x1f\x7f]+$"

Id = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID_LENGTH, pattern=_ID_PATTERN)]
"""An identifier given by somebody else: 1 to 255 characters, no control characters."""

Name = Annotated[str, StringConstraints(min_length=1, max_length=MAX_ID_LENGTH)]
"""A name shown to people."""

Text = Annotated[str, StringConstraints(max_length=MAX_TEXT_LENGTH)]
"""The text of a message; may be empty."""


def key_size(key: str) -> int:
    """Return how many bytes a key takes in the store that needs most: MongoDB has `%`, `$` and `.` percent-encoded."""
    return len(key.encode()) + 2 * (key.count("%") + key.count("$") + key.count("."))


def json_size(value: JsonValue, depth: int = 0) -> int:
    """Return about how many bytes `value` takes as compact JSON. Raises ValueError for what no store can keep."""
    if depth > _MAX_JSON_DEPTH:
        raise ValueError(f"nested deeper than {_MAX_JSON_DEPTH} levels")
    match value:
        case dict():
            if any("\x00" in key for key in value):
                raise ValueError("a key holds a NUL character")
            return 2 + sum(key_size(key) + 4 + json_size(item, depth + 1) for key, item in value.items())
        case list():
            return 2 + sum(1 + json_size(item, depth + 1) for item in value)
        case str():
            return 2 + len(value.encode())
        case float() if not isfinite(value):
            raise ValueError("a number is not finite")
        case int() if not _INT64_MIN <= value <= MAX_INTEGER:
            raise ValueError("an integer needs more than 64 bits")
        case _:
            return 8


def same_json(one: object, other: object) -> bool:
    """Whether two values are the same in JSON: to Python true is 1, and false 0, in lists and objects too."""
    match one, other:
        case dict(), dict():
            return one.keys() == other.keys() and all(same_json(value, other[key]) for key, value in one.items())
        case list(), list():
            return len(one) == len(other) and all(map(same_json, one, other))
        case _:
            return isinstance(one, bool) is isinstance(other, bool) and one == other


_Object = TypeVar("_Object", bound=Mapping[str, JsonValue])


def check_size(value: Mapping[str, JsonValue], most: int = MAX_DATA_BYTES) -> None:
    """Raise ValueError if a JSON object takes more than `most` bytes, or no store can keep it."""
    if len(value) > most // 6:  # each takes that much at the least: there is no need to look at them all
        raise ValueError(f"{len(value)} keys, more than fit into {most} bytes of JSON")
    size = json_size(dict(value), 0)
    if size > most:
        raise ValueError(f"about {size} bytes of JSON, the limit is {most}")


def _bounded(value: _Object) -> _Object:
    check_size(value)
    return value


JsonObject = Annotated[
    dict[str, JsonValue],
    AfterValidator(_bounded),
    Field(description="A JSON object that every store can keep: 64-bit integers, 32 levels, no NUL in keys."),
]


Numbers = Annotated[dict[str, int | float], AfterValidator(_bounded)]
"""Numbers by name, that every store can keep."""


def _keepable(value: dict[str, JsonValue]) -> dict[str, JsonValue]:
    json_size(value)
    return value


KeepableObject = Annotated[dict[str, JsonValue], AfterValidator(_keepable)]
"""A JSON object as large as a session's whole data or metadata may be, which is more than one input sets."""
