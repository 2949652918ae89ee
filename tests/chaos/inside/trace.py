"""The handler trace: one line for each thing that a worker did, on disk before it goes on."""

import json
import os
import time
from pathlib import Path
from typing import Any


class Trace:
    """Appends JSON lines to a file with one system call each: they outlive a SIGKILL of the process."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def write(self, kind: str, **fields: Any) -> None:
        """Write one line, with the time that all processes of this machine share."""
        line = json.dumps({"kind": kind, "at": time.monotonic(), **fields}, separators=(",", ":"))
        os.write(self._file, line.encode() + b"\n")


def read_trace(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a trace; none if the worker never began one."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
