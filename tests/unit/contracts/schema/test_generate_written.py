"""What the schemas tell readers is true of what we write, and we can read it ourselves."""

import base64
import json
from copy import deepcopy
from functools import cache
from importlib import resources
from typing import Any

import pytest
from jsonschema import (  # type: ignore[import-untyped]  # it ships no types
    Draft202012Validator,
)

from agentbus.contracts.commands import CommandReply, ReplyError
from agentbus.contracts.envelope import EventEnvelope
from agentbus.contracts.events import Commit
from agentbus.contracts.history import HistoryMessage, Reaction
from agentbus.contracts.ids import InputId
from agentbus.contracts.parked import ParkedInput, ParkedStatus, parked_id_for
from agentbus.contracts.schema import DOCUMENTS, Document, incompatibilities
from agentbus.contracts.schema.generate import ReadSchema, WrittenSchema
from agentbus.contracts.schema.samples import CONVERSATION, EVENT
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.contracts.writing import Writing, WritingEnvelope
from tests.harness.schemas import schema_of

_COMMITTED = resources.files("agentbus.contracts.schema") / "v1"


def _committed() -> dict[str, str]:
    return {entry.name: entry.read_text("utf-8") for entry in _COMMITTED.iterdir() if entry.name.endswith(".json")}


@cache
def _validator(name: str) -> Any:
    return Draft202012Validator(schema_of(name))


# What we write and others read

_WRITTEN = {
    "event.json": EVENT,
    "reply.json": CommandReply(command_id=InputId("1"), error=ReplyError(code="session_not_found", message="gone")),
    "parked.json": ParkedInput(
        parked_id=parked_id_for("1", b"\xfb\xff"),
        queue="agentbus.inbound.1",
        code="undecodable",
        reason="not JSON",
        parked_at=EVENT.data.at,
        status=ParkedStatus.PARKED,
        body=b"\xfb\xff",
    ),
    "session.json": SessionState(
        conversation_id=CONVERSATION,
        generation=1,
        version=2,
        sequence=3,
        first_version=1,
        status=SessionStatus.ACTIVE,
        data={"a": None},
        created_at=EVENT.data.at,
    ),
    "history-message.json": HistoryMessage(
        sequence=2,
        message=EVENT.data.message,  # type: ignore[union-attr]  # the sample is a message that was appended
        edited_at=EVENT.data.at,
        reactions=(Reaction(user="7", reaction="👍"),),
    ),
    "writing.json": WritingEnvelope(
        id="1", subject="s", partitionkey=CONVERSATION, data=Writing(id="w", text="so far")
    ),
    "commit.json": Commit(
        conversation_id=CONVERSATION, version=1, at=EVENT.data.at, inputs=(InputId("1"),), events=(EVENT.data,)
    ),
}


def _written_documents() -> list[Document]:
    return [document for document in DOCUMENTS if document.direction == "written"]


def test_there_is_a_sample_of_all_that_is_written() -> None:
    assert _WRITTEN.keys() == {document.file_name for document in _written_documents()}


@pytest.mark.parametrize("name", _WRITTEN)
def test_what_is_written_is_valid_and_can_be_read_back(name: str) -> None:
    model = _WRITTEN[name]
    wire = model.model_dump_json(exclude_none=True)
    _validator(name).validate(json.loads(wire))
    assert type(model).model_validate_json(wire) == model


@pytest.mark.parametrize("name", _WRITTEN)
def test_a_property_of_a_later_release_is_valid(name: str) -> None:
    written = json.loads(_WRITTEN[name].model_dump_json(exclude_none=True))

    def extended(node: Any) -> Any:
        if isinstance(node, list):
            return [extended(child) for child in node]
        if not isinstance(node, dict):
            return node
        # Whom a session is shared with, and when a field was written, are maps: users and fields come and go.
        maps = {"shares", "stamps", "bases"}
        kept = {key: value if key in maps else extended(value) for key, value in node.items()}
        return kept | {"of_a_later_release": 1}

    _validator(name).validate(extended(written))


@pytest.mark.parametrize("name", _WRITTEN)
def test_what_is_always_written_is_required(name: str) -> None:
    model, validator = _WRITTEN[name], _validator(name)
    written = json.loads(model.model_dump_json(exclude_none=True))
    for field, info in type(model).model_fields.items():
        if field in written and info.default is not None:
            without = deepcopy(written)
            del without[field]
            assert not validator.is_valid(without), field


def test_the_bytes_of_a_parked_input_are_written_as_the_schema_says() -> None:
    assert schema_of("parked.json")["properties"]["body"]["contentEncoding"] == "base64url"
    written = json.loads(_WRITTEN["parked.json"].model_dump_json())
    assert base64.urlsafe_b64decode(written["body"]) == b"\xfb\xff"


class _ReaderSchema(ReadSchema):
    """Of what our own readers take, with moments as we write them."""

    moment = WrittenSchema.moment


@pytest.mark.parametrize("document", _written_documents(), ids=lambda document: document.name)
def test_what_was_written_under_the_committed_schema_can_still_be_read(document: Document) -> None:
    """Logs and backups are kept, and workers of two releases run side by side."""
    written = json.loads(_committed()[document.file_name])
    reader = document.model.model_json_schema(mode="validation", schema_generator=_ReaderSchema)
    assert incompatibilities(written, _open(reader), direction="read") == []


def test_a_subscriber_reads_an_event_with_the_attributes_of_a_later_release() -> None:
    envelope = json.loads(EVENT.to_bytes())
    envelope["of_a_later_release"] = envelope["data"]["of_a_later_release"] = 1
    assert EventEnvelope.from_bytes(json.dumps(envelope).encode()) == EVENT


def _open(node: Any) -> Any:
    """Let pass further properties, as readers of what we write must."""
    if isinstance(node, list):
        return [_open(child) for child in node]
    if not isinstance(node, dict):
        return node
    return {k: _open(v) for k, v in node.items() if not (k == "additionalProperties" and v is False)}
