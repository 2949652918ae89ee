"""Replies on their way out: what is to be sent, and what became of it."""

import re
from enum import StrEnum
from typing import Annotated, Final, NewType

from pydantic import Field, StringConstraints
from pydantic.json_schema import SkipJsonSchema

from agentbus.contracts.address import Platform
from agentbus.contracts.base import Announced, Id, Timestamp, nothing
from agentbus.contracts.ids import Lineage, MessageKey, SessionId, SessionIdField, number_of

ReplyId = NewType("ReplyId", str)
"""A reply: the id of the event that asked for it, `<session_id>/<number>`."""

ReplyIdField = Annotated[ReplyId, StringConstraints(pattern=r"^[a-z2-7]{26}\.[1-9][0-9]{0,8}/[1-9][0-9]{0,17}$")]

MAX_OPEN_REPLIES: Final = 100
"""The most replies of a conversation that may wait to be sent, or for somebody to say what became of them."""

SENT_REPLIES: Final = 16
"""How many of the replies that were sent a head remembers: what is told of earlier ones finds nobody."""

MAX_PIECES: Final = 64
"""The most messages that a reply may be split into where a platform takes no longer ones."""

MAX_CHANGEABLE: Final = 8
"""The most messages of a reply that can be changed once they are sent."""

MAX_REASON_LENGTH: Final = 1000

_PARTS: Final = re.compile(r"[./]")
_KEY: Final = re.compile(
    r"(?P<conversation>[a-z2-7]{26})-(?P<generation>[1-9][0-9]{0,8})-(?P<sequence>[1-9][0-9]{0,17})"
    r"-(?P<piece>[1-9][0-9]?)-(?P<pieces>[1-9][0-9]?)"
)

Reason = Annotated[str, StringConstraints(max_length=MAX_REASON_LENGTH)]
"""Why something failed, in the words of whoever knows: a platform, an operator, a worker."""

PlatformIds = Annotated[tuple[Id, ...], Field(fail_fast=True, max_length=MAX_PIECES)]
"""The ids that a platform gave to the messages of a reply, in their order."""


class ReplyOutcome(StrEnum):
    """What became of a reply, as whoever sends it reports."""

    SENT = "sent"
    """The platform has it."""
    FAILED = "failed"
    """The platform does not have it, and will not."""
    UNKNOWN = "unknown"
    """Nobody knows whether the platform has it. It is not sent again, unless somebody says so."""
    DELIVERED = "delivered"
    """It is on the person's device."""
    READ = "read"
    """The person has seen it."""
    EDITED = "edited"
    """The platform shows what it says now, or that it was taken back."""
    UNCHANGED = "unchanged"
    """The platform shows what it said before, and will."""


class ReplyResolution(StrEnum):
    """What somebody decides about a reply of which nobody knows whether it was sent."""

    SENT = "sent"
    """It was."""
    RESEND = "resend"
    """It is sent again, and marked as possibly doubled."""
    FAILED = "failed"
    """It was not, and is not wanted any more."""


class InDoubt(StrEnum):
    """What is done with a reply of which nobody knows whether its platform has it."""

    HOLD = "hold"
    """It waits for somebody to decide: `agentbus replies resolve`."""
    RESEND = "resend"
    """It is sent again, and marked as possibly doubled."""


class ReplyState(StrEnum):
    """Where a reply is."""

    WAITING = "waiting"
    """It is to be sent."""
    UNKNOWN = "unknown"
    """Nobody knows whether it was sent."""
    SENT = "sent"
    """The platform has it."""
    CHANGED = "changed"
    """The platform has it, and is to show that it says something else by now, or was taken back."""

    @property
    def is_open(self) -> bool:
        """Whether it is still to be known that the platform has it."""
        return self in {ReplyState.WAITING, ReplyState.UNKNOWN}


def _none_of(values: object) -> bool:
    """Whether there are none: what was kept before there could be is the same then."""
    return not values


class OutgoingReply(Announced):
    """A reply, as a conversation's head remembers it: what it says is in the log."""

    session_id: SessionIdField
    sequence: int = Field(ge=1, description="Of the event that asked for it.")
    version: int = Field(ge=1, description="Of the commit that holds that event, and the message.")
    at: Timestamp = Field(description="When it was asked for.")
    platform: Platform
    state: ReplyState = ReplyState.WAITING
    again: int = Field(default=0, ge=0, description="How often somebody had it sent again although it may have been.")
    message_id: Id | None = Field(default=None, description="The platform's id of its last message, once sent.")
    lineage: SkipJsonSchema[Lineage | None] = Field(
        default=None, exclude_if=nothing, description="Of the event that asked for it."
    )
    earlier_ids: PlatformIds = Field(
        default=(), exclude_if=_none_of, description="Those of the messages before it, where there are a few."
    )
    message: MessageKey | None = Field(
        default=None, exclude_if=nothing, description="What it says: by its key, for as long as that may be changed."
    )
    changed_at: int | None = Field(
        default=None, ge=1, exclude_if=nothing, description="Version of the commit by which it says something else."
    )

    @property
    def reply_id(self) -> ReplyId:
        """The reply's id."""
        return reply_id_for(self.session_id, number_of(self.sequence, self.lineage))


def reply_id_for(session: SessionId, number: int) -> ReplyId:
    """Return the id of the reply that an event of a session asked for."""
    return ReplyId(f"{session}/{number}")


def session_of_reply(reply: ReplyId) -> SessionId:
    """Return the session in which a reply was asked for."""
    return SessionId(reply.partition("/")[0])


def piece_key(reply: ReplyId, piece: int, pieces: int) -> str:
    """Return the idempotency key of one message of a reply: the same whenever that message is sent again.

    1 to 64 letters, digits and dashes; `piece` counts from 1.
    """
    return "-".join((*_PARTS.split(reply), str(piece), str(pieces)))


def reply_of_key(key: str) -> ReplyId | None:
    """Return the reply of whose last message this is the key; None if it is of an earlier one, or no such key."""
    found = _KEY.fullmatch(key)
    if found is None or found["piece"] != found["pieces"]:
        return None
    return ReplyId(f"{found['conversation']}.{found['generation']}/{found['sequence']}")
