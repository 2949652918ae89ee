"""Queries: what can be asked about a session. They change nothing, and are answered with a `CommandReply`."""

from typing import Annotated, Literal

from pydantic import Field

from agentbus.contracts.base import Contract, Id
from agentbus.contracts.ids import SessionIdField


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


AnyQuery = ReadSession | ReadHistory
Query = Annotated[AnyQuery, Field(discriminator="kind")]
