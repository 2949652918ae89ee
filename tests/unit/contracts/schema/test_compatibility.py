"""What counts as breaking: a table of changes, in both directions."""

from copy import deepcopy
from typing import Any, Literal

import pytest

from agentbus.contracts.schema import DOCUMENTS, Document, incompatibilities
from tests.harness.sampling import sampled

_Schema = dict[str, Any]
_Direction = Literal["read", "written"]


def _object(properties: _Schema, *required: str, closed: bool = True) -> _Schema:
    schema = {"type": "object", "properties": properties, "required": list(required)}
    return schema | {"additionalProperties": False} if closed else schema


def _at(place: Any) -> _Schema:
    """Return a document with `place` at `$.a`."""
    return _object({"a": place}, "a")


def _kind(name: str, **properties: Any) -> _Schema:
    return _object({"kind": {"const": name, "type": "string"}} | properties, "kind")


def _tagged(*members: _Schema) -> _Schema:
    return {"discriminator": {"propertyName": "kind"}, "oneOf": list(members)}


_TEXT = {"type": "string"}
_NUMBER = {"type": "integer"}
_MAP = {"type": "object", "additionalProperties": _NUMBER}

# What is changed, from what, into what; whether that breaks who writes to us (read), and who reads from us (written).
_CHANGES: list[tuple[str, _Schema, _Schema, bool, bool]] = [
    ("nothing", _at(_TEXT), _at(_TEXT), False, False),
    ("annotations", _at(_TEXT), _at(_TEXT | {"description": "new", "title": "T", "examples": ["x"]}), False, False),
    ("an optional property is new", _object({"a": _TEXT}), _object({"a": _TEXT, "b": _TEXT}), False, False),
    ("a required property is new", _object({"a": _TEXT}), _object({"a": _TEXT, "b": _TEXT}, "b"), True, False),
    ("a property is removed", _object({"a": _TEXT, "b": _TEXT}), _object({"a": _TEXT}), True, True),
    (
        "a property is removed where others are allowed",
        _object({"a": _TEXT, "b": _TEXT}, closed=False),
        _object({"a": _TEXT}, closed=False),
        False,
        True,
    ),
    ("a required property is removed", _at(_TEXT), _object({}), True, True),
    ("an optional property becomes required", _object({"a": _TEXT}), _at(_TEXT), True, False),
    ("a required property becomes optional", _at(_TEXT), _object({"a": _TEXT}), False, True),
    ("another type", _at(_TEXT), _at(_NUMBER), True, True),
    ("one more type", _at(_TEXT), _at({"anyOf": [_TEXT, _NUMBER]}), False, True),
    ("one type less", _at({"type": ["string", "integer"]}), _at(_TEXT), True, False),
    ("null as well", _at(_TEXT), _at({"anyOf": [_TEXT, {"type": "null"}]}), False, True),
    ("null no more", _at({"anyOf": [_TEXT, {"type": "null"}]}), _at(_TEXT), True, False),
    ("the same types, written otherwise", _at({"type": ["string", "null"]}),
     _at({"anyOf": [{"type": "null"}, _TEXT]}), False, False),
    ("integers become numbers", _at(_NUMBER), _at({"type": "number"}), False, True),
    ("numbers become integers", _at({"type": "number"}), _at(_NUMBER), True, False),
    ("anything goes", _at(_TEXT), _at({}), False, True),
    ("anything goes, as a boolean", _at(_TEXT), _at(True), False, True),
    ("no longer anything", _at({}), _at(_TEXT), True, False),
    ("nothing goes", _at(_TEXT), _at(False), True, False),
    ("a new enum value", _at({"enum": ["x"]}), _at({"enum": ["x", "y"]}), False, False),
    ("an enum value is removed", _at({"enum": ["x", "y"]}), _at({"enum": ["x"]}), True, False),
    ("an enum is new", _at(_TEXT), _at(_TEXT | {"enum": ["x"]}), True, False),
    ("an enum is lifted", _at(_TEXT | {"enum": ["x"]}), _at(_TEXT), False, True),
    (
        "an enum is opened to words like those",
        _at(_TEXT | {"enum": ["x"]}),
        _at(_TEXT | {"pattern": "^[a-z]$"}),
        False,
        False,
    ),
    (
        "an enum is opened to other words",
        _at(_TEXT | {"enum": ["x"]}),
        _at(_TEXT | {"pattern": "^[0-9]$"}),
        True,
        True,
    ),
    ("another constant", _at({"const": "1"}), _at({"const": "2"}), True, True),
    ("a constant becomes an enum", _at({"const": "1"}), _at({"enum": ["1", "2"]}), False, True),
    ("a constant is lifted", _at(_TEXT | {"const": "1"}), _at(_TEXT), False, True),
    ("longer at most", _at(_TEXT | {"maxLength": 5}), _at(_TEXT | {"maxLength": 9}), False, True),
    ("shorter at most", _at(_TEXT | {"maxLength": 9}), _at(_TEXT | {"maxLength": 5}), True, False),
    ("a limit is new", _at(_TEXT), _at(_TEXT | {"maxLength": 5}), True, False),
    ("a limit is lifted", _at(_TEXT | {"maxLength": 5}), _at(_TEXT), False, True),
    ("a higher minimum", _at(_NUMBER | {"minimum": 0}), _at(_NUMBER | {"minimum": 1}), True, False),
    ("a lower minimum", _at(_NUMBER | {"minimum": 1}), _at(_NUMBER | {"minimum": 0}), False, True),
    ("fewer items", _at({"type": "array", "items": _TEXT, "maxItems": 9}),
     _at({"type": "array", "items": _TEXT, "maxItems": 5}), True, False),
    ("another pattern", _at(_TEXT | {"pattern": "^a"}), _at(_TEXT | {"pattern": "^b"}), True, True),
    ("a pattern is new", _at(_TEXT), _at(_TEXT | {"pattern": "^a"}), True, False),
    ("a format is lifted", _at(_TEXT | {"format": "date-time"}), _at(_TEXT), False, True),
    ("a keyword not known here", _at(_TEXT), _at(_TEXT | {"x-strange": 1}), True, False),
    ("other items", _at({"type": "array", "items": _TEXT}), _at({"type": "array", "items": _NUMBER}), True, True),
    ("items of a kind", _at({"type": "array"}), _at({"type": "array", "items": _TEXT}), True, False),
    ("a new member", _at(_tagged(_kind("x"))), _at(_tagged(_kind("x"), _kind("y"))), False, False),
    ("a member is removed", _at(_tagged(_kind("x"), _kind("y"))), _at(_tagged(_kind("x"))), True, False),
    ("members in another order", _at(_tagged(_kind("x", b=_TEXT), _kind("y"))),
     _at(_tagged(_kind("y"), _kind("x", b=_TEXT))), False, False),
    ("a member loses a property", _at(_tagged(_kind("x", b=_TEXT), _kind("y"))),
     _at(_tagged(_kind("x"), _kind("y"))), True, True),
    ("a member of no union becomes one of two", _at(_kind("x")), _at(_tagged(_kind("x"), _kind("y"))), False, True),
    ("a member without a tag is new", _at({"anyOf": [_TEXT]}), _at({"anyOf": [_TEXT, _MAP]}), False, True),
    ("other properties are forbidden", _object({"a": _TEXT}, closed=False), _object({"a": _TEXT}), True, False),
    ("other properties are allowed", _object({"a": _TEXT}), _object({"a": _TEXT}, closed=False), False, False),
    ("a map of something else", _at(_MAP), _at(_MAP | {"additionalProperties": _TEXT}), True, True),
    ("a map of anything", _at(_MAP), _at({"type": "object"}), False, True),
    ("a name of a map gets another type", _at(_MAP), _at(_MAP | {"properties": {"b": _TEXT}}), True, True),
    ("a name of a map gets the same type", _at(_MAP), _at(_MAP | {"properties": {"b": _NUMBER}}), False, False),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "breaks"), [c[1:4] for c in _CHANGES], ids=[c[0] for c in _CHANGES])
def test_changes_of_what_we_read(old: _Schema, new: _Schema, breaks: bool) -> None:
    assert bool(incompatibilities(old, new, direction="read")) is breaks


@pytest.mark.parametrize(("old", "new", "breaks"), [(c[1], c[2], c[4]) for c in _CHANGES], ids=[c[0] for c in _CHANGES])
def test_changes_of_what_we_write(old: _Schema, new: _Schema, breaks: bool) -> None:
    assert bool(incompatibilities(old, new, direction="written")) is breaks


@pytest.mark.parametrize(
    ("direction", "old", "new", "message"),
    [
        ("read", _at(_TEXT), _at(_NUMBER), "$.a: string is no longer accepted, only integer"),
        ("written", _at(_TEXT), _at(_NUMBER), "$.a: may now be integer, was string"),
        ("read", _object({"b": _TEXT}), _object({}), "$.b: was removed"),
        ("written", _object({"b": _TEXT}), _object({}), "$.b: was removed"),
        ("read", _object({"b": _TEXT}), _object({"b": _TEXT}, "b"), "$.b: is now required"),
        ("written", _at(_TEXT), _object({"a": _TEXT}), "$.a: became optional"),
        ("read", _at({"enum": ["x", "y"]}), _at({"enum": ["x"]}), "$.a: y is no longer accepted"),
        ("written", _at({"const": "x"}), _at({"const": "y"}), "$.a: y is a new value of a constant"),
        ("read", _at(_TEXT), _at(_TEXT | {"enum": ["x"]}), "$.a: now limited to ['x']"),
        ("written", _at(_TEXT | {"enum": ["x"]}), _at(_TEXT), "$.a: no longer limited to ['x']"),
        ("read", _at(_TEXT), _at(_TEXT | {"maxLength": 5}), "$.a: maxLength changed from none to 5"),
        (
            "written",
            _at(_TEXT | {"maxLength": 5}),
            _at(_TEXT | {"maxLength": 9}),
            "$.a: maxLength changed from 5 to 9",
        ),
        (
            "read",
            _at({"type": "array", "items": _tagged(_kind("x", b=_TEXT), _kind("y"))}),
            _at({"type": "array", "items": _tagged(_kind("x"), _kind("y"))}),
            "$.a[*](x).b: was removed",
        ),
        (
            "read",
            _at(_MAP),
            _at(_MAP | {"additionalProperties": _TEXT}),
            "$.a.*: integer is no longer accepted, only string",
        ),
        ("read", _object({}, closed=False), _object({}), "$: other properties are no longer accepted"),
    ],
)  # fmt: skip
def test_messages_say_where_and_what(direction: _Direction, old: _Schema, new: _Schema, message: str) -> None:
    assert incompatibilities(old, new, direction=direction) == [message]


# References


def _tree(value: _Schema, *, indirect: bool = False) -> _Schema:
    """Return a recursive schema: a node has a value and children; or children's children, by another reference."""
    children = {"type": "array", "items": {"$ref": "#/$defs/Other" if indirect else "#/$defs/Node"}}
    node = _object({"value": value, "children": children}, "value")
    return {"$ref": "#/$defs/Node", "$defs": {"Node": node, "Other": {"$ref": "#/$defs/Node"}}}


@pytest.mark.parametrize("direction", ["read", "written"])
def test_recursive_schemas_are_compared(direction: _Direction) -> None:
    assert incompatibilities(_tree(_TEXT), _tree(_TEXT), direction=direction) == []
    assert incompatibilities(_tree(_TEXT), _tree(_TEXT, indirect=True), direction=direction) == []
    assert incompatibilities(_tree(_TEXT), _tree(_NUMBER), direction=direction)


def test_a_reference_is_the_same_as_what_it_refers_to() -> None:
    by_reference = _at({"$ref": "#/$defs/Text"}) | {"$defs": {"Text": _TEXT}}
    assert incompatibilities(by_reference, _at(_TEXT), direction="read") == []
    assert incompatibilities(_at(_TEXT), by_reference, direction="written") == []


def test_what_stands_beside_a_reference_counts() -> None:
    old = _at({"$ref": "#/$defs/Text"}) | {"$defs": {"Text": _TEXT}}
    new = _at({"$ref": "#/$defs/Text", "maxLength": 1}) | {"$defs": {"Text": _TEXT}}
    assert incompatibilities(old, new, direction="read") == ["$.a: maxLength changed from none to 1"]


@pytest.mark.parametrize(
    ("place", "complaint"),
    [
        ({"$ref": "urn:other"}, "leads out"),
        ({"$ref": "#/$defs/Missing"}, "leads nowhere"),
        ({"$ref": "#/$defs/Loop"}, "nothing but itself"),
    ],
)
def test_a_reference_that_leads_nowhere_is_an_error(place: _Schema, complaint: str) -> None:
    schema = _at(place) | {"$defs": {"Loop": {"$ref": "#/$defs/Loop"}}}
    with pytest.raises(ValueError, match=complaint):
        incompatibilities(schema, schema, direction="read")


# The schemas that are published


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
@pytest.mark.parametrize("direction", ["read", "written"])
def test_each_document_is_compatible_with_itself(document: Document, direction: _Direction) -> None:
    schema = document.schema()
    assert incompatibilities(schema, deepcopy(schema), direction=direction) == []


@sampled("document", each=4)  # most of each document is in others too
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_the_loss_of_any_property_of_a_document_is_found(document: Document) -> None:
    old = document.schema()
    places = ["", *(name for name, node in old.get("$defs", {}).items() if "properties" in node)]
    for place in places:
        node = _node(old, place)
        open_to_others = node.get("additionalProperties") is not False and document.direction == "read"
        for nth, name in enumerate(node["properties"]):
            new = _with_node(old, place, _without(node, name))
            # From the document's root on for one property of each place; for all from where they are.
            begin = "" if nth == 0 else place
            found = incompatibilities(_seen_from(old, begin), _seen_from(new, begin), direction=document.direction)
            assert bool(found) is not open_to_others, (place, name)


def _node(schema: _Schema, place: str) -> _Schema:
    node: _Schema = schema["$defs"][place] if place else schema
    return node


def _with_node(schema: _Schema, place: str, node: _Schema) -> _Schema:
    return schema | {"$defs": schema["$defs"] | {place: node}} if place else node


def _without(node: _Schema, name: str) -> _Schema:
    properties = {other: given for other, given in node["properties"].items() if other != name}
    required = [other for other in node.get("required", ()) if other != name]
    return node | {"properties": properties, "required": required}


def _seen_from(schema: _Schema, place: str) -> _Schema:
    return {"$ref": f"#/$defs/{place}", "$defs": schema["$defs"]} if place else schema
