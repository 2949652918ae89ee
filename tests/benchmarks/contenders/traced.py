"""Run a worker and note when the store acknowledged each input: `python -m ...traced FILE MODULE ARGUMENTS...`.

MongoDB's driver reports every command; that of a write which holds an input is noted with the moment (monotonic clock,
which all processes of a machine share) at which its acknowledgement was read. Noting begins with SIGUSR1. What is noted
is evaluated and written to FILE, as JSON {input id: moment}, when the worker ends: while it works, noting costs about a
microsecond a write, and what the driver has to do for its report a few more.
"""

import json
import runpy
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from time import monotonic
from typing import Any

from pymongo import monitoring

_WRITES = ("insert", "update")


class Trace(monitoring.CommandListener):
    """Notes the writes of this process."""

    def __init__(self) -> None:
        self._noting = False
        self._open: dict[int, Mapping[str, Any]] = {}
        self._done: list[tuple[float, Mapping[str, Any]]] = []

    def begin(self) -> None:
        """Note writes from now on."""
        self._noting = True

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        if self._noting and event.command_name in _WRITES:
            self._open[event.request_id] = event.command

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        command = self._open.pop(event.request_id, None)
        if command is not None:
            self._done.append((monotonic(), command))

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        self._open.pop(event.request_id, None)

    def moments(self) -> dict[str, float]:
        """Return when each input was acknowledged first."""
        found: dict[str, float] = {}
        for moment, command in self._done:
            for input_id in _inputs(command):
                found.setdefault(input_id, moment)
        return found


def _inputs(command: Mapping[str, Any]) -> Iterator[str]:
    if command.get("insert") == "log":
        for document in command["documents"]:
            yield from document.get("inputs", ())
    elif command.get("update") == "sessions":
        for update in command["updates"]:
            yield update["u"]["$push"]["history"]["id"]


def main() -> None:
    """Run the module as if it had been started itself."""
    file, module, *arguments = sys.argv[1:]
    trace = Trace()
    signal.signal(signal.SIGUSR1, lambda *_: trace.begin())
    monitoring.register(trace)
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        Path(file).write_text(json.dumps(trace.moments()))


if __name__ == "__main__":
    main()
