"""What a session is beyond its messages: whose it is, who may see it, how long it lives, what it belongs to."""

from enum import StrEnum
from functools import cache
from typing import Annotated, Final, Literal

from pydantic import Field

from agentbus.contracts.base import Contract, Id, Many, Name, Timestamp
from agentbus.contracts.ids import SessionIdField


class SessionType(StrEnum):
    """The kind of place in which a session's conversation happens."""

    PRIVATE = "private"
    """One person and the bot."""
    GROUP = "group"
    """Several people."""
    CHANNEL = "channel"
    """A room that many read."""
    THREAD = "thread"
    """A thread within a room."""
    AGENT = "agent"
    """An agent at work, without a chat."""


class Visibility(StrEnum):
    """Who may see a session besides its owner."""

    PRIVATE = "private"
    """No one, unless it was shared with them."""
    SHARED = "shared"
    """Those it was shared with; set by sharing it."""
    PUBLIC = "public"
    """Everyone may read it; only those it was shared with for writing may change it."""


class Permission(StrEnum):
    """What sharing a session allows."""

    READ = "read"
    """To see it and its history."""
    WRITE = "write"
    """To see and to change it."""


MAX_TAGS: Final = 64
"""How many tags a session may have."""

Tags = Annotated[Many[Name], Field(max_length=MAX_TAGS)]
Seconds = Annotated[float, Field(gt=0, le=3_155_760_000, description="Seconds; at most 100 years.")]


MaxHistory = Annotated[int, Field(ge=1, le=1000)]


class Profile(Contract):
    """A session's owner, access, lifetime and place among others."""

    owner: Id | None = Field(default=None, description="Whose session it is; by default who wrote its first message.")
    agent_id: Id | None = Field(default=None, description="The agent that it is with.")
    session_type: SessionType = SessionType.PRIVATE
    parent_id: SessionIdField | None = Field(default=None, description="The session that it is a part of.")
    ai_model: Name | None = None
    template: Name | None = Field(default=None, description="The template that it was made from.")
    tags: Tags = ()
    visibility: Visibility = Visibility.PRIVATE
    shares: dict[Id, Permission] = Field(default_factory=dict, max_length=1000, description="By user.")
    expires_at: Timestamp | None = Field(default=None, description="When the session ends by itself.")
    lifetime: Seconds | None = Field(default=None, description="Seconds from a refresh to the end of the session.")
    idle_timeout: Seconds | None = Field(default=None, description="Seconds without activity that make it idle.")
    max_history: MaxHistory | None = Field(default=None, description="How many messages are read with the session.")


@cache
def no_profile() -> Profile:
    """Return the profile in which nothing is set: one for all, as pydantic would copy a default that is a model."""
    return Profile()


class ProfileChanges(Contract):
    """Changes to a profile; what is left out stays as it is."""

    agent_id: Id | None = None
    session_type: SessionType | None = None
    ai_model: Name | None = None
    template: Name | None = None
    tags: Tags | None = None
    expires_at: Timestamp | None = None
    lifetime: Seconds | None = None
    idle_timeout: Seconds | None = None
    max_history: MaxHistory | None = None
    clear: Many[Literal["agent_id", "parent_id", "ai_model", "template", "expires_at", "lifetime", "idle_timeout"]] = (
        Field(default=(), description="What the session no longer has.")
    )
    add_tags: Tags | None = Field(default=None, description="Tags to add to those that there are.")
    remove_tags: Tags | None = Field(default=None, description="Tags to take out of those that there are.")
    seen: Profile | None = Field(
        default=None, description="What the caller saw: refused if a field to be changed is another one by now."
    )
