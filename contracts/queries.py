"""Queries: what can be asked, or told, about a session. They change nothing; the answer is a `CommandReply`."""

from typing import Annotated, Literal

from pydantic import Field

from agentbus.contracts.base import MAX_INTEGER, Contract, Id
from agentbus.contracts.ids import SessionIdField
from agentbus.contracts.writing import Writing


class _Query(Contract):
    session_id: SessionIdField = Field(description="The session that it is about, an earlier one as well.")
    actor: Id | None = Field(default=None, description="The user it is asked for, whose rights are checked.")


class ReadSession(_Query):
    """Read a session's state."""

    kind: Literal["read_session"] = "read_session"


class ReadHistory(_Query):
    """Read a page of a session's messages: the newest page first, its items oldest first."""

    kind: Literal["read_history"] = "read_history"
    limit: int = Field(default=50, ge=1, le=200)
    cursor: str | None = Field(default=None, max_length=2048, description="That of the page before.")


class ReadEvents(_Query):
    """Read a session's events from the log, as they were announced, oldest first: those that the reader has missed."""

    kind: Literal["read_events"] = "read_events"
    from_sequence: int = Field(
        default=1, ge=1, le=MAX_INTEGER, description="The number to begin at, as in an event's `sequence`."
    )
    place: str | None = Field(default=None, max_length=64, description="That of the answer before, to go on from.")


class TellWriting(_Query):
    """Have it announced what a reply reads that is being written. It is kept nowhere; the reply is a `SendReply`."""

    kind: Literal["tell_writing"] = "tell_writing"
    writing: Writing


AnyQuery = ReadSession | ReadHistory | ReadEvents | TellWriting
Query = Annotated[AnyQuery, Field(discriminator="kind")]
