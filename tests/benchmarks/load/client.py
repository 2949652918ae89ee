"""The driver's end of the load process."""

import json
import subprocess
import sys
from types import TracebackType
from typing import Any, Self

from tests.harness.processes import ROOT

_END_SECONDS = 30.0


class LoadFailed(Exception):
    """The load process could not do what it was asked, or has ended."""


class Load:
    """A load process; ends with the `with` block. Its calls are the methods of `Generator`."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.load.program"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._process.kill()
        self._process.communicate(timeout=_END_SECONDS)

    def call(self, method: str, /, **arguments: object) -> Any:
        """Have something done and return its value. Raises LoadFailed."""
        self.begin(method, **arguments)
        return self.result()

    def begin(self, method: str, /, **arguments: object) -> None:
        """Have something begun; `result` must be called before the next call."""
        assert self._process.stdin is not None, "it is a pipe"
        self._process.stdin.write(json.dumps({"call": method, **arguments}) + "\n")
        self._process.stdin.flush()

    def result(self) -> Any:
        """Wait for what was begun and return its value. Raises LoadFailed."""
        assert self._process.stdout is not None, "it is a pipe"
        line = self._process.stdout.readline()
        if not line:
            raise LoadFailed("the load process has ended")
        answer = json.loads(line)
        if "error" in answer:
            raise LoadFailed(answer["error"])
        return answer["value"]
