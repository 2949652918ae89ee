"""`python -m tests.backups.dying FILES ARGUMENTS...`: `agentbus ARGUMENTS...`, killed (SIGKILL) once it has written so
many files of a backup. With SMALL in the environment files, groups and pages are small."""

import os
import signal
import sys
from typing import Any

from agentbus.cli.app import main
from agentbus.contracts.backup import FileRef
from agentbus.storage.backup import writing
from agentbus.storage.backup.place import BackupPlace
from agentbus.workers.backup import making
from tests.harness.failpoints import patch


def die_after(files: int) -> None:
    """Kill this process when so many files are written."""
    write, left = BackupPlace.write, files

    async def counted(self: BackupPlace, *given: Any, **more: Any) -> FileRef:
        nonlocal left
        ref = await write(self, *given, **more)
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        return ref

    patch(BackupPlace, write=counted)


if __name__ == "__main__":
    if os.environ.get("SMALL"):
        patch(writing, FILE_BYTES=50_000, _GROUP_THINGS=10)
        patch(making, _PAGE=20)
    die_after(int(sys.argv[1]))
    sys.argv[1:2] = []
    main()
