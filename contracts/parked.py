"""Parked inputs: taken out of the flow after they failed for good, kept with the reason, replayable."""

import hashlib
from enum import StrEnum
from typing import NewType

from pydantic import ConfigDict, Field

from agentbus.contracts.base import Sealable, Timestamp
from agentbus.contracts.ids import ConversationIdField

ParkedId = NewType("ParkedId", str)
"""Identity of a parked input: the same bytes parked again are the same parked input."""


class ParkedStatus(StrEnum):
    """What became of a parked input."""

    PARKED = "parked"
    """It waits for an operator."""
    REPLAYED = "replayed"
    """It was published again, with the same id."""
    DISCARDED = "discarded"
    """An operator decided that it is not needed."""


class ParkedInput(Sealable):
    """An input that failed for good, with all that is needed to understand and replay it."""

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    parked_id: ParkedId
    message_id: str = Field(default="", description="The AMQP message id, as far as the publisher gave one.")
    conversation_id: ConversationIdField | None = Field(default=None, description="If it could be read.")
    queue: str = Field(description="The queue it came from; the ingress, if its sender may give no commands.")
    code: str = Field(description="The error's name in snake case, such as schema_violation.")
    reason: str = Field(description="What is wrong, in words.")
    stack: str = Field(default="", description="The traceback, if it failed unexpectedly.")
    attempts: int = Field(default=1, ge=1, description="Deliveries up to the parking, and times it was parked again.")
    parked_at: Timestamp
    position: int = Field(
        default=0, ge=0, description="Nanoseconds since 1970 when its worker parked it: sorts a conversation's own."
    )
    status: ParkedStatus = ParkedStatus.PARKED
    size: int = Field(
        default=0, ge=0, description="Bytes of the whole body: a list gives the beginning of a large one."
    )
    body: bytes = Field(description="The original bytes; base64url in JSON.")


def parked_id_for(message_id: str, body: bytes) -> ParkedId:
    """Return the identity of a parked input: 128-bit BLAKE2b of its message id and bytes, in hexadecimal."""
    digest = hashlib.blake2b(message_id.encode() + b"\0" + body, digest_size=16)
    return ParkedId(digest.hexdigest())
