"""The command line: as a tree of commands, and called without starting a process."""

import logging
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import cast

import pytest
import typer
from typer.core import TyperGroup
from typer.testing import CliRunner

from agentbus.cli.app import Commands, app
from agentbus.cli.output import err, out


def whole_command_line() -> TyperGroup:
    """Return it with every command imported: by itself it imports one when it is called."""
    group = cast("TyperGroup", typer.main.get_command(app))
    group.commands = {name: where.load(name) for name, where in Commands.places.items()}
    return group


def called(*arguments: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run `agentbus ARGUMENTS...` to its end in this process, outside of any event loop.

    A process for it takes 0.6 s of a processor to start: `processes.agentbus` is for what only a process shows.
    """
    with pytest.MonkeyPatch.context() as patch, _logging_as_before():
        for console in (out, err):
            patch.setattr(console, "width", 200)
        done = CliRunner().invoke(app, arguments, env=env, prog_name="agentbus", catch_exceptions=False)
    return subprocess.CompletedProcess(["agentbus", *arguments], done.exit_code, done.stdout, done.stderr)


@contextmanager
def _logging_as_before() -> Iterator[None]:
    """Undo what a command sets up for the logs of its process: handlers, their filters, and the drivers' levels."""
    root = logging.getLogger()
    handlers = {handler: handler.filters[:] for handler in root.handlers}
    levels = {logging.getLogger(name): logging.getLogger(name).level for name in ("", "aiormq.connection", "aio_pika")}
    try:
        yield
    finally:
        root.handlers[:] = handlers
        for handler, filters in handlers.items():
            handler.filters[:] = filters
        for logger, level in levels.items():
            logger.setLevel(level)
