"""A reply while it is being written: told to whoever shows it, and kept nowhere.

What a reply says in the end is a message like any other (`SendReply`). What it reads until then is announced as it
comes, and lost where nobody listens: each announcement holds all of it, so that the next one makes good for it.
"""

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from agentbus.contracts.address import Address
from agentbus.contracts.base import Announced, Contract, Id
from agentbus.contracts.text import first_bytes

WRITING_TYPE: Final = "agentbus.writing.v1"
WRITING_TOPIC: Final = "writing"
"""The middle word of the routing key on which it is announced."""

MAX_WRITING_BYTES: Final = 16_384
"""How much of a reply that is being written is told, in bytes of UTF-8: its beginning. All of it comes in the end."""

WRITING_LASTS: Final = 20.0
"""Seconds after which a reply of which nothing more was told is not being written any more: its writer died."""

TELL_EVERY: Final = 5.0
"""Seconds after which a writer that has nothing new to tell says that it goes on."""


def _fits(text: str) -> str:
    if len(text.encode(errors="surrogatepass")) > MAX_WRITING_BYTES:
        raise ValueError(f"more than {MAX_WRITING_BYTES} bytes")
    return text


class Writing(Contract):
    """What a reply reads that is being written."""

    id: Id = Field(description="The id of the message that it becomes: that of its command, `SendReply`.")
    to: Address | None = Field(default=None, description="Where it goes; without one, to the session's stored address.")
    text: Annotated[str, AfterValidator(_fits)] = Field(
        default="",
        description="Its beginning, in Markdown: 16,384 bytes at most; nothing: it is only being thought of.",
    )
    over: bool = Field(default=False, description="It was given up: nothing comes of it for now.")


def is_writing(body: bytes) -> bool:
    """Whether an announcement is of a reply that is being written, and no event."""
    return WRITING_TYPE.encode() in body[:100]


def told_of(text: str) -> str:
    """Return as much of a reply's beginning as is told."""
    return first_bytes(text, MAX_WRITING_BYTES)


class WritingEnvelope(Announced):
    """A reply that is being written, as it is announced: best effort, never again, in no order with the events."""

    specversion: Literal["1.0"] = "1.0"
    type: Literal["agentbus.writing.v1"] = WRITING_TYPE
    id: Id = Field(description="New for each.")
    source: str = Field(default="/agentbus", min_length=1, max_length=2048)
    datacontenttype: Literal["application/json"] = "application/json"
    subject: Id = Field(description="The session.")
    partitionkey: Id = Field(description="The conversation.")
    data: Writing

    def to_bytes(self) -> bytes:
        """Return the envelope as it travels: compact JSON in UTF-8."""
        return self.model_dump_json(exclude_none=True).encode()
