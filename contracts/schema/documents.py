"""Which contracts are published, and how their JSON Schema (draft 2020-12) comes out of the models.

What we read is described as strictly as CloudEvents 1.0 asks (the reader itself lets some of it pass), what we write as
it travels: without null fields. Readers of what we write must pass over properties, union members and enum values
that they do not know: a later release of the same version may add them.

The schemas can't say everything: the limits on JSON objects (bytes, depth, 64-bit integers) are in descriptions only.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel

from agentbus.contracts.commands import CommandReply
from agentbus.contracts.envelope import SCHEMA_VERSION, EventEnvelope, InputEnvelope
from agentbus.contracts.events import Commit
from agentbus.contracts.history import HistoryMessage
from agentbus.contracts.parked import ParkedInput
from agentbus.contracts.schema.compatibility import Direction
from agentbus.contracts.schema.generate import ReadSchema, WrittenSchema
from agentbus.contracts.schema.shape import JsonSchema
from agentbus.contracts.session import SessionState
from agentbus.contracts.writing import WritingEnvelope

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


@dataclass(frozen=True, kw_only=True)
class Document:
    """One published schema."""

    name: str
    model: type[BaseModel]
    direction: Direction
    required: tuple[str, ...] = ()
    """Properties that are required beyond what the model asks for."""

    @property
    def file_name(self) -> str:
        """The name of its file in the folder of its version."""
        return f"{self.name}.json"

    @property
    def urn(self) -> str:
        """The schema's `$id`."""
        return f"urn:agentbus:{SCHEMA_VERSION}:{self.name}"

    def schema(self) -> JsonSchema:
        """Generate the schema from the model."""
        schema = _read_schema(self.model) if self.direction == "read" else _written_schema(self.model)
        schema["required"] = [*schema.get("required", ()), *self.required]
        for node in _nodes(schema):
            if "required" in node:
                node["required"] = sorted(set(node["required"]))
        return {"$schema": DIALECT, "$id": self.urn, **schema}


DOCUMENTS: Final = (
    # CloudEvents 1.0.2, 3.1: these four attributes are required.
    Document(
        name="input", model=InputEnvelope, direction="read", required=("id", "source", "specversion", "type", "data")
    ),
    Document(name="event", model=EventEnvelope, direction="written"),
    Document(name="writing", model=WritingEnvelope, direction="written"),
    Document(name="reply", model=CommandReply, direction="written"),
    Document(name="parked", model=ParkedInput, direction="written"),
    Document(name="session", model=SessionState, direction="written"),
    Document(name="history-message", model=HistoryMessage, direction="written"),
    Document(name="commit", model=Commit, direction="written"),
)


def published() -> dict[str, JsonSchema]:
    """Return every published schema by its file name, newly generated."""
    return {document.file_name: document.schema() for document in DOCUMENTS}


def render(schema: JsonSchema) -> str:
    """Return `schema` as the text of its file: the same text for the same schema."""
    return json.dumps(schema, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _read_schema(model: type[BaseModel]) -> JsonSchema:
    schema = model.model_json_schema(mode="validation", schema_generator=ReadSchema)
    _require_tags(schema)
    return schema


def _written_schema(model: type[BaseModel]) -> JsonSchema:
    schema = model.model_json_schema(mode="serialization", schema_generator=WrittenSchema)
    for node in _nodes(schema):
        if node.get("additionalProperties") is False:
            del node["additionalProperties"]
    return schema


def _require_tags(schema: JsonSchema) -> None:
    """Require in each member of a tagged union the tag that tells the members apart: pydantic gives it a default."""
    for node in list(_nodes(schema)):
        if discriminator := node.get("discriminator"):
            for reference in discriminator["mapping"].values():
                member = schema["$defs"][reference.rpartition("/")[2]]
                member["required"] = [*member.get("required", ()), discriminator["propertyName"]]


def _nodes(node: Any) -> Iterator[JsonSchema]:
    """Yield every object within a schema, itself first."""
    if isinstance(node, dict):
        yield node
        for child in node.values():
            yield from _nodes(child)
    elif isinstance(node, list):
        for child in node:
            yield from _nodes(child)
