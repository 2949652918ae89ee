"""Queries: what can be asked, or told, about a session. They change nothing; the answer is a `CommandReply`."""

from typing import Annotated, Literal

from pydantic import Field

from agentbus.contracts.base import Contract, Id
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


class TellWriting(_Query):
    """Have it announced what a reply reads that is being written. It is kept nowhere; the reply is a `SendReply`."""

    kind: Literal["tell_writing"] = "tell_writing"
    writing: Writing


AnyQuery = ReadSession | ReadHistory | TellWriting
Query = Annotated[AnyQuery, Field(discriminator="kind")]
