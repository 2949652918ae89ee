"""What the broker says of what was published on one channel, taken off the wire."""

import struct
from typing import Final

from aiormq import spec

from agentbus.workers.bus.rabbit.failures import Nacked, Returned
from agentbus.workers.bus.rabbit.incoming import Content
from agentbus.workers.bus.rabbit.known_routes import Posted
from agentbus.workers.bus.rabbit.wire import METHOD

_ACK: Final = struct.pack(">I", spec.Basic.Ack.index)
_NACK: Final = struct.pack(">I", spec.Basic.Nack.index)
_RETURN: Final = struct.pack(">I", spec.Basic.Return.index)
_TAG: Final = struct.Struct(">QB")
_MULTIPLE: Final = 1


class Confirms:
    """Knows what was published on a channel and not confirmed yet, and settles it.

    What no queue takes is returned, and confirmed afterwards. A return names no tag: it is found by its message's id,
    so that one of an id may be open at a time.
    """

    def __init__(self) -> None:
        self._tag = 0
        self._open: dict[int, Posted] = {}  # by tag, in their order
        self._by_id: dict[str, Posted] = {}
        self._returned = Content()

    def __len__(self) -> int:
        return len(self._open)

    def has(self, message_id: str) -> bool:
        """Whether a message of this id is open."""
        return message_id in self._by_id

    def expect(self, posted: Posted) -> None:
        """Count a message that is published now: the broker counts along."""
        self._tag += 1
        self._open[self._tag] = posted
        self._by_id[posted.message.message_id] = posted

    def forget(self, posted: Posted) -> None:
        """Let another message have the id of one that is settled."""
        if self._by_id.get(posted.message.message_id) is posted:
            del self._by_id[posted.message.message_id]

    def fail(self, error: Exception) -> bool:
        """Settle all that is open; return whether anybody still waited for some of it."""
        left, self._open = list(self._open.values()), {}
        self._by_id.clear()
        awaited = [one for one in left if not one.done]
        for one in awaited:
            one.settle(error)
        return bool(awaited)

    def take(self, kind: int, data: bytes, start: int, end: int) -> bool:
        """Take a frame, if it is a confirm, a refusal or of a return."""
        if kind != METHOD:
            if not self._returned.expects:
                return False
            if self._returned.add(kind, data, start, end):
                self._settle_returned()
            return True
        method = data[start : start + 4]
        if method in (_ACK, _NACK):
            tag, bits = _TAG.unpack_from(data, start + 4)
            self._settle(tag, multiple=bool(bits & _MULTIPLE), refused=method == _NACK)
            return True
        if method == _RETURN:
            self._returned.begin()
            return True
        return False

    def _settle(self, tag: int, *, multiple: bool, refused: bool) -> None:
        if not multiple:
            tags = [tag] if tag in self._open else []
        elif tag:
            tags = []
            for one in self._open:  # in order: what comes after the first later one is later too
                if one > tag:
                    break
                tags.append(one)
        else:
            tags = list(self._open)  # "all so far", as AMQP has it
        for one in tags:
            self._open.pop(one).settle(Nacked() if refused else None)

    def _settle_returned(self) -> None:
        posted = self._by_id.get(self._returned.properties.message_id or "")
        self._returned.body = b""
        if posted is not None:
            posted.settle(Returned())
