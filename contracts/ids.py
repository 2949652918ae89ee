"""Identifiers as value types, and how they are derived so that no two things ever share one."""

import hashlib
import re
import zlib
from collections.abc import Iterable
from typing import Annotated, Final, NewType

from pydantic import Field, StringConstraints

ConversationId = NewType("ConversationId", str)
"""The key that one actor owns: 26 characters of lower-case base32."""

SessionId = NewType("SessionId", str)
"""One generation of a conversation: `<conversation_id>.<generation>`."""

InputId = NewType("InputId", str)
"""The idempotency key of a message or command within its conversation."""

MessageKey = NewType("MessageKey", str)
"""A message's identity within its conversation, whichever chat it came from."""

Partition = NewType("Partition", int)
"""One of the partition queues, counted from 0."""

_CONVERSATION: Final = r"[a-z2-7]{26}"
_ABSENT: Final = b"\xff\xff\xff\xff"

ConversationIdField = Annotated[ConversationId, StringConstraints(pattern=rf"^{_CONVERSATION}$")]
_SESSION: Final = rf"{_CONVERSATION}\.[1-9][0-9]{{0,8}}"
SessionIdField = Annotated[SessionId, StringConstraints(pattern=rf"^{_SESSION}$")]

LATEST_LINEAGE: Final = 999_999_999
_LINEAGES: Final = 1_000_000_000

_BASE32: Final = "abcdefghijklmnopqrstuvwxyz234567"
_PAIRS: Final = tuple(one + other for one in _BASE32 for other in _BASE32)
_PLACES: Final = tuple(range(120, -1, -10))
"""Where the 13 pairs of digits begin in the 130 bits of 26 digits."""

Lineage = Annotated[int, Field(ge=1, le=LATEST_LINEAGE)]
"""Tells apart what happened after a restore of a store from what had happened after the backup, which is lost: later
restores have higher ones."""


def digest_of(parts: Iterable[str | None]) -> str:
    """Return a 128-bit BLAKE2b of `parts` as 26 characters of lower-case base32.

    Each part is preceded by its length as four big-endian bytes (an absent part is the length 0xFFFFFFFF alone),
    so that no two different sequences of parts have the same encoding.
    """
    encoded = bytearray()
    for part in parts:
        if part is None:
            encoded += _ABSENT
        else:
            raw = part.encode()
            encoded += len(raw).to_bytes(4, "big") + raw
    # By pairs of digits: each message has some ids derived, and base64's way to base32 takes twice as long.
    bits = int.from_bytes(hashlib.blake2b(encoded, digest_size=16).digest(), "big") << 2
    return "".join([_PAIRS[bits >> place & 1023] for place in _PLACES])


def is_conversation(text: str) -> bool:
    """Whether a text has the form of a conversation's id."""
    return re.fullmatch(_CONVERSATION, text) is not None


def is_session(text: str) -> bool:
    """Whether a text has the form of a session's id."""
    return re.fullmatch(_SESSION, text) is not None


def session_id_for(conversation_id: ConversationId, generation: int) -> SessionId:
    """Return the id of the conversation's `generation`-th session, counted from 1."""
    return SessionId(f"{conversation_id}.{generation}")


def conversation_of(session_id: SessionId) -> ConversationId:
    """Return the conversation that a session belongs to."""
    return ConversationId(session_id.partition(".")[0])


def generation_of(session_id: SessionId) -> int:
    """Return which session of its conversation this is, counted from 1."""
    return int(session_id.partition(".")[2])


def number_of(sequence: int, lineage: int | None) -> int:
    """Return the number by which an event is known outside: its sequence; after a restore one above all before it.

    The sequences that events had after the backup are given out again: by these numbers nobody takes the new events for
    repeats. At most 18 digits.
    """
    return sequence if lineage is None or sequence >= _LINEAGES else lineage * _LINEAGES + sequence


def partition_for(conversation_id: ConversationId, partitions: int) -> Partition:
    """Return the partition of a conversation: `crc32(conversation_id) % partitions`, the same in any language.

    CRC-32 as in zlib, gzip and PNG (ISO 3309), over the ASCII bytes of the id.
    """
    return Partition(zlib.crc32(conversation_id.encode()) % partitions)
