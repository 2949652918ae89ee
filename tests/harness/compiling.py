"""Of a run of several processes one finds the tests first, and compiles them; the others read what it has written.

Side by side, each of four would compile all 1,500 files of a new clone: 16 s of a processor, four times.
"""

import fcntl
import os
import tempfile
import time
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path
from typing import IO, Final

import pytest

FOUND: Final = "AGENTBUS_TEST_FOUND"
"""The variable that names the file which has a letter once one process has found the tests; not for anybody to set."""

WAITING_SECONDS: Final = 300.0
"""How long the others wait for the first: what it has not compiled until then, they compile as well."""

_PAUSE: Final = 0.1


def pytest_configure(config: pytest.Config) -> None:
    """Give the processes of a run of several the file."""
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", None):
        return
    folder = tempfile.TemporaryDirectory(prefix="agentbus-found-")
    os.environ[FOUND] = str(Path(folder.name) / "found")
    config.add_cleanup(folder.cleanup)
    config.add_cleanup(lambda: os.environ.__delitem__(FOUND))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Find the tests as the only one, or when somebody has."""
    path = os.environ.get(FOUND) if hasattr(session.config, "workerinput") else None
    if path is None:
        return (yield)
    with Path(path).open("ab") as file:
        if not alone(file, WAITING_SECONDS):
            file.close()
            return (yield)
        found = yield
        file.write(b".")
        return found


def alone(file: IO[bytes], seconds: float) -> bool:
    """Wait until nobody else has a lock on the file, and take it. False if somebody was done, or after `seconds`."""
    by = time.monotonic() + seconds
    while time.monotonic() < by:
        with suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return os.fstat(file.fileno()).st_size == 0
        time.sleep(_PAUSE)
    return False
