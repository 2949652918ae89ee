"""A place in a JSON Schema in the form that comparing needs: references followed, alternatives laid out."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

JsonSchema = dict[str, Any]

ANY: Final = "any"
"""The type of a schema that does not say one."""

_JSON_TYPES: Final[dict[type, str]] = {bool: "boolean", int: "integer", float: "number", str: "string"}


@dataclass(frozen=True)
class Shape:
    """One alternative of what may stand at a place: of one type, with no reference on top."""

    type: str
    schema: JsonSchema
    tag: str | None = None
    """Its value of the property that tells the members of a tagged union apart."""

    @property
    def allowed(self) -> list[Any] | None:
        """The values it is limited to, if it is."""
        if "const" in self.schema:
            return [self.schema["const"]]
        values: list[Any] | None = self.schema.get("enum")
        return values

    @property
    def label(self) -> str:
        """What messages call it."""
        return self.tag or self.type

    @property
    def key(self) -> str:
        """The same for the same schema."""
        return json.dumps(self.schema, sort_keys=True)


def shapes(schema: JsonSchema | bool, root: JsonSchema) -> list[Shape]:
    """Return the alternatives that `schema`, found in `root`, allows. Raises ValueError for a wrong reference."""
    if schema is False:
        return []
    return list(_shapes({} if schema is True else schema, root, frozenset(), None))


def _shapes(schema: JsonSchema, root: JsonSchema, trail: frozenset[str], tagged_by: str | None) -> Iterator[Shape]:
    while reference := schema.get("$ref"):
        if reference in trail:
            raise ValueError(f"{reference} stands for nothing but itself")
        trail |= {reference}
        schema = _target(reference, root) | {key: value for key, value in schema.items() if key != "$ref"}
    tagged_by = schema.get("discriminator", {}).get("propertyName") or tagged_by
    rest = {key: value for key, value in schema.items() if key not in {"anyOf", "oneOf", "discriminator"}}
    members = [*schema.get("anyOf", ()), *schema.get("oneOf", ())]
    if not members:
        for kind in _types(schema):
            yield Shape(kind, schema, _tag(schema, tagged_by))
    for member in members:
        yield from _shapes(rest | member, root, trail, tagged_by)


def _target(reference: str, root: JsonSchema) -> JsonSchema:
    if not reference.startswith("#"):
        raise ValueError(f"{reference} leads out of the schema")
    node: Any = root
    for escaped in reference.removeprefix("#").split("/")[1:]:
        step = escaped.replace("~1", "/").replace("~0", "~")
        if step not in node:
            raise ValueError(f"{reference} leads nowhere")
        node = node[step]
    found: JsonSchema = node
    return found


def _types(schema: JsonSchema) -> list[str]:
    declared = schema.get("type")
    if isinstance(declared, list):
        return declared
    if declared:
        return [declared]
    values = [schema["const"]] if "const" in schema else schema.get("enum", ())
    return sorted({_JSON_TYPES.get(type(value), "null" if value is None else ANY) for value in values}) or [ANY]


def _tag(schema: JsonSchema, tagged_by: str | None) -> str | None:
    if tagged_by is None:
        return None
    value = schema.get("properties", {}).get(tagged_by, {}).get("const")
    return None if value is None else str(value)
