"""Running a command's coroutine: logs set up, errors told in one line, Ctrl-C taken as a wish to stop."""

import asyncio
from collections.abc import Coroutine
from typing import Any, NoReturn

import typer
from rich.markup import escape

from agentbus.cli.output import err
from agentbus.contracts.errors import AgentBusError
from agentbus.contracts.urls import masked_in
from agentbus.logs import configure_logs
from agentbus.operations.paging import InvalidCursor
from agentbus.settings import LogFormat, Settings, in_a_hurry, load_settings, unknown_variables

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130


def settings_of(*, wait: float | None = None, quiet: bool = False, patient: bool = False, **given: object) -> Settings:
    """Read the settings for a command and set up its logs; `quiet` keeps all but errors out of the way.

    Unless it is `patient`, as a worker is, it does not wait long for a broker or store that is not there.
    """
    try:
        settings = load_settings(broker_timeout=wait, store_timeout=wait, **given)
    except AgentBusError as error:
        fail(error)
    settings = settings if patient else in_a_hurry(settings)
    for unknown in unknown_variables():
        advice = f": did you mean {unknown.nearest}?" if unknown.nearest else ""
        err.print(f"[yellow]warning[/] nothing reads the variable {escape(unknown.name)}{advice}", soft_wrap=True)
    log = settings.log
    if quiet and log.log_format is LogFormat.CONSOLE:
        log = log.model_copy(update={"log_level": "error"})
    configure_logs(log)
    return settings


def run(work: Coroutine[Any, Any, None]) -> None:
    """Run a command's coroutine to its end."""
    try:
        asyncio.run(work)
    except InvalidCursor as error:
        raise typer.BadParameter(str(error), param_hint="--cursor") from None
    except AgentBusError as error:
        fail(error)
    except KeyboardInterrupt:
        raise typer.Exit(EXIT_INTERRUPTED) from None


def fail(error: AgentBusError) -> NoReturn:
    """Say what is wrong, and exit with 1."""
    err.print(f"[bold red]error[/] [dim]({error.code})[/] {escape(masked_in(str(error)))}", soft_wrap=True, emoji=False)
    raise typer.Exit(EXIT_FAILED)
