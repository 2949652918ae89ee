"""What asyncio tells nobody: the tasks that were left when an event loop was closed."""

import asyncio
import logging
from asyncio import runners
from weakref import WeakSet


class Loops(logging.Handler):
    """Watches every event loop that a Runner, thus also `asyncio.run`, closes; and what asyncio logs as an error.

    The Runner cancels what is left, and nothing says so. A task that it found is a leak, even if it can be cancelled;
    one that was made while the loop was being closed stays for ever, and complains when the collector finds it.
    """

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self._left: list[str] = []
        self._loops: WeakSet[asyncio.AbstractEventLoop] = WeakSet()
        self._cancel_all = runners._cancel_all_tasks  # type: ignore[attr-defined]

    def watch(self) -> None:
        """Begin."""
        runners._cancel_all_tasks = self._closing  # type: ignore[attr-defined]
        logging.getLogger("asyncio").addHandler(self)

    def unwatch(self) -> None:
        """Put everything back."""
        runners._cancel_all_tasks = self._cancel_all  # type: ignore[attr-defined]
        logging.getLogger("asyncio").removeHandler(self)

    def taken(self) -> list[str]:
        """Return what was left since the last call."""
        left, self._left = self._left, []
        for loop in list(self._loops):
            if loop.is_closed():
                left += [f"task made while its loop was closed: {task!r}" for task in asyncio.all_tasks(loop)]
                self._loops.discard(loop)
        return left

    def emit(self, record: logging.LogRecord) -> None:
        self._left.append(f"asyncio's error: {record.getMessage()}")

    def _closing(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loops.add(loop)
        self._left += [f"task: {task!r}" for task in asyncio.all_tasks(loop)]
        self._cancel_all(loop)
