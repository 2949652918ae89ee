"""`agentbus tracking`: the figures of how sessions are used."""

import typer
from rich.progress import Progress as ProgressBar
from rich.progress import SpinnerColumn, TextColumn

from agentbus.cli import options
from agentbus.cli.connecting import connecting
from agentbus.cli.output import err, print_fields, print_json
from agentbus.cli.running import EXIT_FAILED
from agentbus.composition.app import stored
from agentbus.operations.tracking import Rebuilt
from agentbus.operations.tracking import rebuild as rebuilding
from agentbus.settings import Settings

app = typer.Typer(
    help="The figures of how sessions are used, which a worker keeps: agentbus worker tracking.\n\n"
    "See them with: agentbus stats",
    no_args_is_help=True,
)


@app.command("rebuild")
@connecting("archive", "store", "wait")
async def rebuild(*, settings: Settings, as_json: options.AsJson = False) -> None:
    """Make all figures anew from the logs, and from the archive if one is set. Workers may go on.

    For figures that are in doubt: it gives the same. `kept` are conversations of which neither log nor archive has all
    by now: theirs stay as they are. Exits with 1 if a conversation can't be read; the log names it.
    """
    done = Rebuilt()
    columns = (SpinnerColumn(), TextColumn("{task.description}"))
    async with stored(settings) as app:
        with ProgressBar(*columns, console=err, transient=True) as bar:
            task = bar.add_task("0 conversations")
            async for done in rebuilding(app):
                bar.update(task, description=f"{done.conversations} conversations")
    shown = {"conversations": done.conversations, "kept": done.kept, "damaged": done.damaged}
    if as_json:
        print_json(shown)
    else:
        print_fields(shown)
    if done.damaged:
        raise typer.Exit(EXIT_FAILED)
