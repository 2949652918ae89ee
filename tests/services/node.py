"""A RabbitMQ node that is told what to do, by whoever knows its name and how it was started."""

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tests.services.errors import ServiceError
from tests.services.programs import erlang_program, rabbitmq_program

_SECONDS: Final = 180.0

# How long, and how often, it is tried to connect to the node, and what is said when that fails.
_CONNECTING_SECONDS: Final = 30.0
_PAUSE: Final = 0.2
_NOT_CONNECTED: Final = "failed to connect to node"


@dataclass(frozen=True, slots=True)
class RabbitNode:
    """A node of this machine: its name, and the environment of the programs that connect to it."""

    name: str
    environment: Mapping[str, str]

    def ctl(self, *arguments: str) -> str:
        """Run `rabbitmqctl` and return its output, without headings. Raises ServiceError when it fails."""
        return self._run([str(rabbitmq_program("rabbitmqctl")), "--silent", "--node", self.name, *arguments])

    def evaluate(self, expression: str, runs: Callable[[], bool]) -> None:
        """Evaluate an Erlang expression on it; unlike rabbitmqctl (0.4 s), this takes a few milliseconds.

        On busy cores connecting fails now and then: it is tried again, for 30 s, while `runs` says that the node is
        there. Raises ServiceError when it fails, or gives something else than `ok`.
        """
        command = [str(erlang_program("erl_call")), "-sname", self.name, "-e"]
        by = time.monotonic() + _CONNECTING_SECONDS
        while True:
            try:
                output = self._run(command, expression + ".\n")
                break
            except ServiceError as error:
                if _NOT_CONNECTED not in str(error) or not runs() or time.monotonic() > by:
                    raise
                time.sleep(_PAUSE)
        if not output.startswith("{ok, ok}"):
            message = f"{self.name}: {expression} gave {output}"
            raise ServiceError(message)

    def _run(self, command: Sequence[str], stdin: str = "") -> str:
        done = subprocess.run(
            command,
            env=self.environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            message = f"{' '.join(command)} failed ({done.returncode}): {done.stdout}{done.stderr}"
            raise ServiceError(message)
        return done.stdout
