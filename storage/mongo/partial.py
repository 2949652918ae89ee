"""Heads as they are written: what did not change since the last time is not encoded again."""

import struct
from collections import OrderedDict
from operator import attrgetter, is_
from typing import Any, Final

import bson
from bson.raw_bson import RawBSONDocument

from agentbus.contracts.ids import SessionId
from agentbus.contracts.session import SessionState
from agentbus.storage.mongo.codec import head_fields, head_marks

MOST_BYTES: Final = 8 * 1024 * 1024
"""Bytes of encoded fields that are kept, with what they were encoded from, which mostly is in live states as well."""

_MOVING: Final = ("version", "epoch", "sequence", "message_count", "last_activity", "recent_inputs")
"""What each message changes. There are no keys in them that users chose."""
_STILL: Final = tuple(name for name in SessionState.model_fields if name not in _MOVING)

_moving_of: Final = attrgetter(*_MOVING)
_still_of: Final = attrgetter(*_STILL)
_SIZE: Final = struct.Struct("<i")


class Encoded(RawBSONDocument):
    """A document as it is sent. The client asks each one to be written whether it is empty, and so would decode it."""

    def __bool__(self) -> bool:
        return True


class HeadEncoder:
    """Encodes heads, and remembers most of each one's fields as they are encoded.

    A commit leaves what it does not change the same objects: by that it is found, as to look into them takes as long
    as to encode them.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._known: OrderedDict[SessionId, tuple[tuple[Any, ...], bytes]] = OrderedDict()
        self.bytes = 0
        """Bytes of encoded fields."""

    def document(self, head: SessionState) -> Encoded:
        """Return the document of a head, encoded. Raises BSONError or OverflowError for what BSON can't hold."""
        moving = bson.encode({**head_marks(head), **dict(zip(_MOVING, _moving_of(head), strict=True))})
        still = self._still(head)
        size = _SIZE.pack(len(moving) + len(still))
        return Encoded(b"".join((size, moving[_SIZE.size : -1], still, b"\0")))

    def _still(self, head: SessionState) -> bytes:
        session, values = head.session_id, _still_of(head)
        known = self._known.get(session)
        if known is not None and all(map(is_, known[0], values)):
            self._known.move_to_end(session)
            return known[1]
        encoded = bson.encode(head_fields(head, without=_MOVING))[_SIZE.size : -1]
        self._forget(session)
        self._known[session] = (values, encoded)
        self.bytes += len(encoded)
        while self.bytes > self._most_bytes:
            self._forget(next(iter(self._known)))
        return encoded

    def _forget(self, session: SessionId) -> None:
        if known := self._known.pop(session, None):
            self.bytes -= len(known[1])
