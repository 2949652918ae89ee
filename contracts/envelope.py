"""What travels on the bus: CloudEvents 1.0 in the structured JSON format.

Source: CloudEvents 1.0.2 core specification and JSON event format; the extensions `sequence`, `partitionkey` and
`traceparent` (W3C Trace Context) are the documented ones.
"""

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any, Final, Literal

from pydantic import Field, StringConstraints, ValidationError
from pydantic_core import to_json

from agentbus.contracts.address import Scope, conversation_id_for
from agentbus.contracts.base import MAX_INPUT_BYTES, Announced, Id, Timestamp
from agentbus.contracts.commands import AnyCommand, Command
from agentbus.contracts.documents import json_in
from agentbus.contracts.errors import InvalidInput, SchemaViolation, TooLarge, Undecodable, UnsupportedType
from agentbus.contracts.events import AnyEvent, Event
from agentbus.contracts.ids import ConversationId, ConversationIdField, InputId, conversation_of
from agentbus.contracts.messages import InboundMessage
from agentbus.contracts.queries import AnyQuery, Query

CONTENT_TYPE: Final = "application/cloudevents+json"
SCHEMA_VERSION: Final = "v1"
INPUT_TYPE: Final = "agentbus.input.v1"
EVENT_TYPE: Final = "agentbus.event.v1"

_TRACEPARENT: Final = r"^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$"
_SEQUENCE_DIGITS: Final = 20
_SHOWN_ERRORS: Final = 5
_MOST_ERRORS: Final = 1000
"""Errors beyond which none is shown: pydantic can only list them all."""

TraceParent = Annotated[str, StringConstraints(pattern=_TRACEPARENT)]
Payload = Annotated[InboundMessage | Command | Query, Field(discriminator="kind")]


@dataclass(frozen=True, slots=True)
class Input:
    """A message or command with its idempotency key: given again with the same id it is carried out once."""

    id: InputId
    data: InboundMessage | AnyCommand
    """Names its conversation, by the session or the address, if it is still to find it."""


class _CloudEvent(Announced):
    specversion: Literal["1.0"] = "1.0"
    source: str = Field(min_length=1, max_length=2048, description="URI reference of whoever sends it.")
    time: Timestamp | None = None
    datacontenttype: Literal["application/json"] = "application/json"
    traceparent: TraceParent | None = Field(default=None, description="W3C trace context of the cause.")


class InputEnvelope(_CloudEvent):
    """A message or command on its way to the conversation's owner."""

    type: Literal["agentbus.input.v1"] = INPUT_TYPE
    id: Id = Field(description="Idempotency key within the conversation: retry with the same id.")
    source: str = Field(default="/publisher", min_length=1, max_length=2048)
    partitionkey: ConversationIdField | None = Field(
        default=None, description="The conversation. May be left out at the ingress, which works it out."
    )
    data: Payload

    @property
    def input_id(self) -> InputId:
        """The envelope's id as the idempotency key."""
        return InputId(self.id)

    def conversation(self, scope: Scope) -> ConversationId:
        """Return the conversation meant: by partition key, else by session id, else by the address under `scope`.

        What is about an earlier message (an edit, a deletion, a reaction) goes to the conversation of that one.
        Raises SchemaViolation when the input names none of the three.
        """
        if self.partitionkey:
            return self.partitionkey
        data = self.data
        if isinstance(data, AnyQuery):
            return conversation_of(data.session_id)
        if isinstance(data, InboundMessage):
            return conversation_id_for(data.place, scope)
        if data.session_id:
            return conversation_of(data.session_id)
        if data.address:
            return conversation_id_for(data.address, scope)
        raise SchemaViolation("a command needs a partitionkey, a session_id or an address to find its conversation")

    def to_bytes(self) -> bytes:
        """Return the envelope as it travels: compact JSON in UTF-8."""
        return self.model_dump_json(exclude_none=True).encode()

    @classmethod
    def from_bytes(cls, body: bytes) -> "InputEnvelope":
        """Read an envelope. Raises TooLarge, Undecodable, UnsupportedType or SchemaViolation, saying what is wrong."""
        if len(body) > MAX_INPUT_BYTES:
            raise TooLarge(f"{len(body)} bytes, the limit is {MAX_INPUT_BYTES}: it was not read")
        try:
            return cls.model_validate_json(body)
        except ValidationError as error:
            raise _diagnose(body, error, INPUT_TYPE) from None


class EventEnvelope(_CloudEvent):
    """A session event as it is announced."""

    type: Literal["agentbus.event.v1"] = EVENT_TYPE
    id: Id = Field(description="`<session_id>/<number>`: the same whenever the event is announced again.")
    source: str = Field(default="/agentbus", min_length=1, max_length=2048)
    subject: Id = Field(description="The session.")
    sequence: str = Field(
        pattern=r"^[0-9]{20}$",
        description="The event's number in its session from 1, zero-padded to sort as text. After a restore from a "
        "backup it goes on far above all numbers before.",
    )
    partitionkey: ConversationIdField
    data: Event

    @classmethod
    def of(cls, event: AnyEvent, traceparent: str | None = None) -> "EventEnvelope":
        """Wrap `event` for its announcement."""
        return cls(
            id=event.event_id,
            subject=event.session_id,
            sequence=str(event.number).zfill(_SEQUENCE_DIGITS),
            partitionkey=conversation_of(event.session_id),
            time=event.at,
            traceparent=traceparent,
            data=event,
        )

    def to_bytes(self) -> bytes:
        """Return the envelope as it travels: compact JSON in UTF-8."""
        return self.model_dump_json(exclude_none=True).encode()

    @classmethod
    def bytes_of(cls, event: AnyEvent, traceparent: str | None = None) -> bytes:
        """Return what `of(event, traceparent).to_bytes()` does, for a third of the processor time.

        The event was checked when it was made, and what stands around it is put together from its own fields.
        """
        session = event.session_id
        cause = f'"traceparent":{to_json(traceparent).decode()},' if traceparent else ""
        return (
            f'{{"specversion":"1.0","source":"/agentbus","time":{_moment(event.at)},'
            f'"datacontenttype":"application/json",{cause}"type":"{EVENT_TYPE}","id":"{event.event_id}",'
            f'"subject":"{session}","sequence":"{event.number:0{_SEQUENCE_DIGITS}d}",'
            f'"partitionkey":"{conversation_of(session)}","data":{event.model_dump_json(exclude_none=True)}}}'
        ).encode()

    @classmethod
    def from_bytes(cls, body: bytes) -> "EventEnvelope":
        """Read an envelope, passing over fields that a later release added.

        Raises Undecodable, UnsupportedType (also for a kind of event that this release does not know) or
        SchemaViolation, saying what is wrong.
        """
        try:
            return cls.model_validate_json(body, extra="ignore")
        except ValidationError as error:
            raise _diagnose(body, error, EVENT_TYPE) from None


@lru_cache(maxsize=64)
def _moment(moment: datetime) -> str:
    """Return a moment as it stands in JSON. What is decided together has the same."""
    return to_json(moment).decode()


def _diagnose(body: bytes, error: ValidationError, expected: str) -> InvalidInput:
    """Turn pydantic's error into ours: one of the three kinds of bad input."""
    try:
        envelope: Any = json_in(body)
    except ValueError as cause:
        return Undecodable(f"not JSON in UTF-8: {cause}")
    if not isinstance(envelope, dict) or envelope.get("specversion") != "1.0":
        return Undecodable('not a CloudEvents 1.0 envelope: specversion "1.0" is missing')
    if envelope.get("type") != expected:
        return UnsupportedType(f"type is {str(envelope.get('type'))[:100]!r}, this release reads {expected!r}")
    if error.error_count() > _MOST_ERRORS:
        return SchemaViolation(f"{error.error_count()} fields are wrong, or not known")
    if any(item["type"] == "union_tag_invalid" and item["loc"] == ("data",) for item in error.errors()):
        return UnsupportedType(f"this release does not know the kind of data: {_shown(error)[0]}")
    return SchemaViolation("; ".join(_shown(error)))


def _shown(error: ValidationError) -> list[str]:
    details = error.errors(include_url=False, include_input=False, include_context=False)
    lines = [f"{'.'.join(str(step) for step in item['loc'])}: {item['msg']}" for item in details[:_SHOWN_ERRORS]]
    if len(details) > _SHOWN_ERRORS:
        lines.append(f"and {len(details) - _SHOWN_ERRORS} more")
    return lines
