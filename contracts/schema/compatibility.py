"""What a change of a published schema would break for somebody, within one version.

The rules, seen from AgentBus. Of what we **read**, everything that was accepted must still be accepted: no property
removed where others are not allowed, none newly required, no type, enum, const, limit or pattern narrowed, no union
member removed. Of what we **write**, old readers must be able to go on: no property removed, none that was always
there becoming optional, no type widened or changed. New properties, new members of tagged unions and new enum values,
or an enum that is opened to all words of a pattern, are allowed, because readers must pass over what they do not know.

What can't be judged (a keyword that is not known here, another pattern) counts as breaking.
"""

import re
from collections.abc import Collection
from typing import Any, Final, Literal

from agentbus.contracts.schema.shape import ANY, JsonSchema, Shape, shapes

Direction = Literal["read", "written"]
"""Whether others write it and we read it, or we write it and others read it."""

_OPENED: Final = (
    (
        r"^[0-9]{15}\.[0-9]{6}\.[a-z]+\.[a-z2-7]{26}$",
        r"^[0-9]{15}\.[0-9]{6}\.[a-z][a-z0-9_-]*\.[a-z2-7]{26}$",
    ),
)
"""Patterns that became wider with what they are part of, before and after: a stamp names any platform."""

_ANNOTATIONS: Final = frozenset(
    {"$schema", "$id", "$defs", "$comment", "title", "description", "default", "examples", "deprecated"}
    | {"readOnly", "writeOnly", "discriminator"}
)
_COMPARED: Final = frozenset({"$ref", "type", "const", "enum", "properties", "required", "additionalProperties"})
_LOWER: Final = frozenset({"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"})
_UPPER: Final = frozenset({"maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"})


def incompatibilities(old: JsonSchema, new: JsonSchema, *, direction: Direction) -> list[str]:
    """Return what would break somebody who relies on `old` once `new` holds: a JSON path and what happened, each.

    Raises ValueError for a schema whose references lead out of it or nowhere.
    """
    return _Comparison(old, new, direction).compare(old, new, "$")


class _Comparison:
    """Asks whether all that the source allows is allowed by the target too.

    Of what is read, the source is the old schema and the target the new one: what was sent must still be taken.
    Of what is written it is the other way round: what will be sent must fit those who know the old schema.
    """

    def __init__(self, old: JsonSchema, new: JsonSchema, direction: Direction) -> None:
        self._written = direction == "written"
        self._old = old
        self._new = new
        self._open: set[tuple[str, str]] = set()

    def compare(self, old: Any, new: Any, path: str) -> list[str]:
        """Compare what may stand at `path`."""
        before, after = shapes(old, self._old), shapes(new, self._new)
        sources, targets = (after, before) if self._written else (before, after)
        found = []
        for source in sources:
            found += self._place(source, targets, path, branching=len(sources) > 1)
        return found

    def _place(self, source: Shape, targets: list[Shape], path: str, *, branching: bool) -> list[str]:
        """Find among the targets the one that takes the source; what is wrong with the nearest, if none does."""
        fitting = [target for target in targets if _same_kind(source, target)]
        if not fitting:
            return self._unplaced(source, targets, path)
        where = f"{path}({source.label})" if branching else path
        return min((self._shape(source, target, where) for target in fitting), key=len)

    def _unplaced(self, source: Shape, targets: list[Shape], path: str) -> list[str]:
        known = ", ".join(dict.fromkeys(target.label for target in targets)) or "nothing"
        if not self._written:
            return [f"{path}: {source.label} is no longer accepted, only {known}"]
        if source.tag and all(target.tag for target in targets):
            return []
        return [f"{path}: may now be {source.label}, was {known}"]

    def _shape(self, source: Shape, target: Shape, path: str) -> list[str]:
        pair = (source.key, target.key)
        if pair in self._open:  # a recursive schema: this very question is being answered further up
            return []
        self._open.add(pair)
        try:
            return self._keywords(source, target, path)
        finally:
            self._open.discard(pair)

    def _keywords(self, source: Shape, target: Shape, path: str) -> list[str]:
        found = self._values(source, target, path)
        if source.type == "object" or "properties" in target.schema:
            found += self._required(source.schema, target.schema, path)
            found += self._properties(source.schema, target.schema, path)
            found += self._others(source.schema, target.schema, path)
        if "items" in target.schema:
            found += self._both(source.schema.get("items", True), target.schema["items"], f"{path}[*]")
        for keyword in sorted({*source.schema, *target.schema} - _ANNOTATIONS - _COMPARED - {"items"}):
            if keyword == "pattern" and _fits(source.allowed, target.schema.get(keyword)):
                continue
            if self._in_time(source.schema.get(keyword), target.schema.get(keyword)) in _OPENED:
                continue
            if _narrower(keyword, source.schema.get(keyword), target.schema.get(keyword)):
                before, after = self._in_time(source.schema.get(keyword), target.schema.get(keyword))
                found.append(f"{path}: {keyword} changed from {_shown(before)} to {_shown(after)}")
        return found

    def _both(self, source: Any, target: Any, path: str) -> list[str]:
        old, new = self._in_time(source, target)
        return self.compare(old, new, path)

    def _in_time(self, source: Any, target: Any) -> tuple[Any, Any]:
        return (target, source) if self._written else (source, target)

    def _values(self, source: Shape, target: Shape, path: str) -> list[str]:
        given, taken = source.allowed, target.allowed
        if taken is None:
            return []
        if given is None and self._written and "enum" in target.schema and _fits(taken, source.schema.get("pattern")):
            return []  # opened: other words like those may come, as a new one might have before
        if given is None:
            return [f"{path}: {'no longer' if self._written else 'now'} limited to {_shown(taken)}"]
        if self._written and "enum" in target.schema:
            return []
        missing = [value for value in given if value not in taken]
        happened = "is a new value of a constant" if self._written else "is no longer accepted"
        return [f"{path}: {_shown(value)} {happened}" for value in missing]

    def _required(self, source: JsonSchema, target: JsonSchema, path: str) -> list[str]:
        names = sorted({*target.get("required", ())} - {*source.get("required", ())})
        if self._written:
            present = source.get("properties", {})
            return [f"{path}.{name}: became optional" for name in names if name in present]
        return [f"{path}.{name}: is now required" for name in names]

    def _properties(self, source: JsonSchema, target: JsonSchema, path: str) -> list[str]:
        given, taken = source.get("properties", {}), target.get("properties", {})
        found: list[str] = []
        for name in sorted(given.keys() & taken.keys()):
            found += self._both(given[name], taken[name], f"{path}.{name}")
        if self._written:
            return found + [f"{path}.{name}: was removed" for name in sorted(taken.keys() - given.keys())]
        closed = target.get("additionalProperties") is False
        return found + [f"{path}.{name}: was removed" for name in sorted(given.keys() - taken.keys()) if closed]

    def _others(self, source: JsonSchema, target: JsonSchema, path: str) -> list[str]:
        """Compare what may stand under names that are not listed."""
        given, taken = source.get("additionalProperties", True), target.get("additionalProperties", True)
        listed, expected = source.get("properties", {}), target.get("properties", {})
        found: list[str] = []
        if isinstance(given, dict):
            for name in sorted(expected.keys() - listed.keys()):
                found += self._both(given, expected[name], f"{path}.{name}")
        if isinstance(taken, dict):
            for name in sorted(listed.keys() - expected.keys()):
                found += self._both(listed[name], taken, f"{path}.{name}")
        if given is False or taken is True:
            return found
        if taken is False:
            return found if self._written else [*found, f"{path}: other properties are no longer accepted"]
        return found + self._both(given, taken, f"{path}.*")


def _same_kind(source: Shape, target: Shape) -> bool:
    if source.tag and target.tag:
        return source.tag == target.tag
    return target.type in {source.type, ANY} or (source.type, target.type) == ("integer", "number")


def _fits(values: Collection[Any] | None, pattern: str | None) -> bool:
    """Whether the only values that there are match a pattern."""
    return bool(values) and pattern is not None and all(re.search(pattern, str(value)) for value in values or ())


def _narrower(keyword: str, source: Any, target: Any) -> bool:
    """Whether the target's `keyword` may refuse something that the source's allows."""
    if target is None or source == target:
        return False
    if source is not None and keyword in _LOWER:
        return bool(source < target)
    if source is not None and keyword in _UPPER:
        return bool(source > target)
    return True


def _shown(value: Any) -> str:
    return "none" if value is None else str(value)
