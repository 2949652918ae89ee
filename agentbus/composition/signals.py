"""SIGTERM and SIGINT as an event to wait for."""

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Final

STOPPING: Final = (signal.SIGTERM, signal.SIGINT)

_Handler = Callable[[int, FrameType | None], Any] | int | None


@contextmanager
def signalled() -> Iterator[asyncio.Event]:
    """Yield an event that SIGTERM and SIGINT set; on leaving, they do again what they did before.

    Outside the main thread, and where the loop can't take signals, nothing is changed and nothing sets it.
    """
    stop = asyncio.Event()
    before = _take(stop) if threading.current_thread() is threading.main_thread() else {}
    try:
        yield stop
    finally:
        loop = asyncio.get_running_loop()
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)


def _take(stop: asyncio.Event) -> dict[signal.Signals, _Handler]:
    loop = asyncio.get_running_loop()
    before: dict[signal.Signals, _Handler] = {}
    for number in STOPPING:
        earlier = signal.getsignal(number)
        with suppress(NotImplementedError):
            loop.add_signal_handler(number, stop.set)
            before[number] = earlier
    return before
