"""What every event tells."""

from typing import ClassVar

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from agentbus.contracts.address import Platform
from agentbus.contracts.base import Id, Sealable, Timestamp, nothing
from agentbus.contracts.ids import InputId, Lineage, SessionIdField, number_of
from agentbus.contracts.operators import Operator


class SessionEvent(Sealable):
    """What every event tells."""

    topic: ClassVar[str]
    """The middle word of the routing key."""

    session_id: SessionIdField
    sequence: int = Field(ge=1, description="Counts the session's events from 1, without gaps.")
    at: Timestamp = Field(description="When it was decided, by the worker's clock.")
    cause: InputId = Field(description="The input that caused it.")
    actor: Id | None = Field(default=None, description="The user on whose behalf a command was given.")
    by: Operator | None = Field(default=None, exclude_if=nothing, description="Who had the command given.")
    platform: Platform | None = Field(
        default=None, description="The platform of the session's last message, if it had one."
    )
    identity: Id | None = Field(default=None, description="The person whose linked sessions this is one of.")
    lineage: SkipJsonSchema[Lineage | None] = Field(
        default=None, exclude_if=nothing, description="Of a store that was restored: which restore it came after."
    )

    @property
    def number(self) -> int:
        """The number that it is announced by: its sequence; after a restore a number that none before it had."""
        return number_of(self.sequence, self.lineage)

    @property
    def event_id(self) -> str:
        """The event's id, the same at each announcement: `<session_id>/<number>`."""
        return f"{self.session_id}/{self.number}"

    @property
    def routing_key(self) -> str:
        """The topic that it is announced on: `session.<what>.<platform>`."""
        return f"session.{self.topic}.{self.platform or 'none'}"
