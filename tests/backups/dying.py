"""`python -m tests.backups.dying WRITES ARGUMENTS...`: `agentbus ARGUMENTS...`, killed (SIGKILL) once it has written so
many files of a backup, or made so many appends to a store. With SMALL in the environment files, groups and pages are
small."""

import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from agentbus.cli.app import main
from agentbus.storage.backup import writing
from agentbus.storage.backup.place import BackupPlace
from agentbus.storage.sql.log import SqlLog
from agentbus.workers.backup import making
from tests.harness.failpoints import patch


def die_after(writes: int) -> None:
    """Kill this process when it has written so often."""
    left = writes

    def counted(write: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def written(*given: Any, **more: Any) -> Any:
            nonlocal left
            done = await write(*given, **more)
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
            return done

        return written

    patch(BackupPlace, write=counted(BackupPlace.write))
    patch(SqlLog, _appended=counted(SqlLog._appended))


if __name__ == "__main__":
    if os.environ.get("SMALL"):
        patch(writing, FILE_BYTES=50_000, _GROUP_THINGS=10)
        patch(making, _PAGE=20)
    die_after(int(sys.argv[1]))
    sys.argv[1:2] = []
    main()
