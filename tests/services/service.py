"""What every test service can do, whether local program, container or somebody else's."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from types import TracebackType
from typing import Self

from tests.services.errors import StartFailed

POLL_SECONDS = 0.02


class Service(ABC):
    """A service under the tests' control. As a context manager it is started, then closed.

    All calls block: from a coroutine, use `asyncio.to_thread`.
    """

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients connect; the same before and after a restart."""

    @abstractmethod
    def start(self) -> Self:
        """Start it if it does not run, resume it if it is paused, and wait until it answers.

        Raises StartFailed when it ends or does not answer within its time limit.
        """

    @abstractmethod
    def stop(self) -> None:
        """End it in good order; its data stay for the next start."""

    @abstractmethod
    def kill(self) -> None:
        """End it at once (SIGKILL), as a crash would; its data stay for the next start."""

    @abstractmethod
    def pause(self) -> None:
        """Freeze it (SIGSTOP): connections stay open and nothing answers."""

    @abstractmethod
    def resume(self) -> None:
        """Let it run on after `pause`."""

    @abstractmethod
    def close(self) -> None:
        """End it for good and remove its data. May be called twice."""

    def restart(self) -> Self:
        """Stop in good order and start again on the same port and data."""
        self.stop()
        return self.start()

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def wait_until(
    ready: Callable[[], bool], *, what: str, seconds: float, check: Callable[[], None] | None = None
) -> None:
    """Ask `ready` until it says yes; `check` may raise to give up early. Raises StartFailed after `seconds`."""
    deadline = time.monotonic() + seconds
    while not ready():
        if check is not None:
            check()
        if time.monotonic() > deadline:
            message = f"{what} did not answer within {seconds:g} s"
            raise StartFailed(message)
        time.sleep(POLL_SECONDS)
