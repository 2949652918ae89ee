"""The deliveries of one channel, taken off the wire."""

import struct
from collections.abc import Callable
from typing import Final

from aiormq import spec

from agentbus.workers.bus.rabbit.incoming import Content, Properties
from agentbus.workers.bus.rabbit.wire import METHOD

_DELIVER: Final = struct.pack(">I", spec.Basic.Deliver.index)
_TAG: Final = struct.Struct(">QB")

OnContent = Callable[[int, bool, Properties, bytes], None]
"""Told of each delivery, in order: its tag, whether the broker delivered it before, its properties, its body."""


class Intake:
    """Takes the deliveries of a channel with one consumer. `on_content` must not raise."""

    def __init__(self, on_content: OnContent) -> None:
        self._on_content = on_content
        self._content = Content()
        self._tag = 0
        self._redelivered = False

    def take(self, kind: int, data: bytes, start: int, end: int) -> bool:
        """Take a frame, if it is of a delivery."""
        content = self._content
        if kind == METHOD:
            if data[start : start + 4] != _DELIVER:
                return False
            content.begin()
            # The consumer's tag comes first: ours, the channel's only one.
            self._tag, bits = _TAG.unpack_from(data, start + 5 + data[start + 4])
            self._redelivered = bool(bits & 1)
            return True
        if not content.expects:
            return False
        if content.add(kind, data, start, end):
            body, content.body = content.body, b""
            self._on_content(self._tag, self._redelivered, content.properties, body)
        return True
