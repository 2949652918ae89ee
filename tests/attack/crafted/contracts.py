"""Inputs of every kind that the published JSON Schema has: a new contract is attacked from the day it is published."""

import re
from collections.abc import Mapping
from functools import cache
from random import Random
from typing import Any, Final

from agentbus.contracts.ids import digest_of
from agentbus.contracts.schema import published

_DEEP: Final = 6
"""Levels from which on nothing optional is filled in: schemas refer to themselves."""

_PATTERNS: Final = {
    "^[a-z2-7]{26}$": "{digest}",
    "^[a-z2-7]{26}\\.[1-9][0-9]{0,8}$": "{digest}.1",
    "^[a-z2-7]{26}\\.[1-9][0-9]{0,8}/[1-9][0-9]{0,17}$": "{digest}.1/1",
    "^[0-9]{15}\\.[0-9]{6}\\.[a-z][a-z0-9_-]*\\.[a-z2-7]{26}$": "001700000000000.000001.data.{digest}",
    "^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$": "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01",
    "^[0-9a-f]{64}$": "0" * 64,
    "^/(data|metadata)/": "/data/{word}",
    "^(?!none$)[a-z][a-z0-9_-]{0,31}$": "hostile",
}
_ANY_TEXT: Final = "^[^\\x00-\\x1f\\x7f]+$"


@cache
def _schema() -> dict[str, Any]:
    return published()["input.json"]


class Contracts:
    """Makes valid inputs out of the schema, as JSON values."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._schema = _schema()
        self.kinds: tuple[str, ...] = tuple(self._schema["properties"]["data"]["discriminator"]["mapping"])

    def envelope(self, kind: str, *, conversation: str, number: int) -> dict[str, Any]:
        """Return an input of `kind` for a conversation, with an id of its own."""
        target = self._schema["properties"]["data"]["discriminator"]["mapping"][kind]
        data = self._value(self._resolved(target), 0)
        if "session_id" in data:
            data["session_id"] = f"{conversation}.1"
        return {
            "specversion": "1.0",
            "type": "agentbus.input.v1",
            "id": f"hostile-{number}",
            "source": f"/attack/{number}",
            "partitionkey": conversation,
            "data": data,
        }

    def _resolved(self, reference: str) -> dict[str, Any]:
        found: dict[str, Any] = self._schema["$defs"][reference.rpartition("/")[2]]
        return found

    def _value(self, schema: Mapping[str, Any], depth: int) -> Any:
        if "$ref" in schema:
            return self._value(self._resolved(schema["$ref"]), depth)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self._random.choice(schema["enum"])
        for choice in ("anyOf", "oneOf"):
            if choice in schema:
                return self._value(self._random.choice(schema[choice]), depth + 1)
        return self._plain(schema, depth)

    def _plain(self, schema: Mapping[str, Any], depth: int) -> Any:  # noqa: PLR0911 - a kind of value each
        match schema.get("type"):
            case "object":
                return self._object(schema, depth)
            case "array":
                count = 0 if depth > _DEEP else self._random.randint(schema.get("minItems", 0), 2)
                return [self._value(schema.get("items", {}), depth + 1) for _ in range(count)]
            case "string":
                return self._text(schema)
            case "integer" | "number":
                least = int(schema.get("minimum", schema.get("exclusiveMinimum", 0) + 1))
                return self._random.randint(least, int(min(schema.get("maximum", least + 1000), least + 1000)))
            case "boolean":
                return self._random.random() < 0.5
            case "null":
                return None
            case _:  # any JSON value
                return self._random.choice(["text", 1, None, True, [1], {"key": "value"}])

    def _object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        required = set(schema.get("required", ()))
        made = {
            name: self._value(part, depth + 1)
            for name, part in schema.get("properties", {}).items()
            if name in required or "const" in part or (depth <= _DEEP and self._random.random() < 0.5)
        }
        more = schema.get("additionalProperties")
        if isinstance(more, Mapping):
            made[f"key{self._random.randint(1, 5)}"] = self._value(more, depth + 1)
        return made

    def _text(self, schema: Mapping[str, Any]) -> str:
        word = f"word{self._random.randint(1, 1000)}"
        if schema.get("format") == "date-time":
            return f"2026-01-{self._random.randint(1, 28):02}T00:00:00Z"
        pattern = schema.get("pattern", _ANY_TEXT)
        if pattern == _ANY_TEXT:
            return word[: schema.get("maxLength", 255)]
        made = _PATTERNS[pattern].format(digest=digest_of((word,)), word=word)
        assert re.search(pattern, made), f"{made!r} is no {pattern}"
        return made
