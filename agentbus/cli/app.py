"""All commands, put together."""

from importlib.metadata import version
from typing import Annotated

import typer

from agentbus.cli import (
    archive,
    contracts,
    demo,
    doctor,
    erase,
    events,
    expiry,
    identity,
    parked,
    publish,
    replay,
    sessions,
    store,
    sync,
    topology,
    worker,
    workers,
)

app = typer.Typer(
    name="agentbus",
    help="The session backbone behind chat systems: chat messages in, ordered sessions and events out.\n\n"
    "Start with: agentbus demo",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_show_locals=False,
)

app.command("demo")(demo.demo)
app.command("publish")(publish.publish)
app.command("replay")(replay.replay)
app.command("worker", help=worker.HELP, no_args_is_help=True)(worker.worker)
app.add_typer(workers.app, name="workers")
app.add_typer(sessions.app, name="sessions")
app.add_typer(events.app, name="events")
app.add_typer(parked.app, name="parked")
app.add_typer(identity.app, name="identity")
app.add_typer(sync.app, name="sync")
app.add_typer(expiry.app, name="expiry")
app.add_typer(archive.app, name="archive")
app.command("erase")(erase.erase)
app.add_typer(store.app, name="store")
app.add_typer(topology.app, name="topology")
app.add_typer(contracts.app, name="contracts")
app.command("doctor")(doctor.doctor)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"agentbus {version('agentbus')}")
        raise typer.Exit


@app.callback()
def options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Take the options that stand before a command."""


def main() -> None:
    """Run the command line."""
    app()
