"""`agentbus tracking`: the figures of how sessions are used."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress as ProgressBar
from rich.progress import SpinnerColumn, TextColumn

from agentbus.cli import options
from agentbus.cli.connecting import connecting
from agentbus.cli.output import err, out, print_fields, print_json
from agentbus.cli.running import EXIT_FAILED
from agentbus.composition.app import make_clock, make_store, stored
from agentbus.operations.machine import drawn_machine, parsed_machine, set_machine, state_machine
from agentbus.operations.tracking import Rebuilt, assess_predictions
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


@app.command("assess")
@connecting("store", "wait")
async def assess(
    *,
    settings: Settings,
    hours: Annotated[int, typer.Option(min=1, max=720, help="Chances of a return within so many hours.")] = 24,
    as_json: options.AsJson = False,
) -> None:
    """Say how good predictions were: by the figures of 45 days, of what came in the 45 days that followed.

    The Brier score is the mean square of how far chances were off: 0 is best, and it should be below that of a chance
    that is the same for all, and of a hazard that never changes. Concordance is 0.5 for a coin, and 1 at best.
    """
    async with make_store(settings) as store:
        found = asdict(await assess_predictions(store, hours))
    if as_json:
        print_json(found)
    else:
        print_fields(found)


@app.command("machine")
@connecting("store", "wait")
async def machine(
    *,
    settings: Settings,
    new: Annotated[
        Path | None,
        typer.Option(
            "--set", exists=True, dir_okay=False, readable=True, metavar="FILE", help="Set it: TOML, or JSON (.json)."
        ),
    ] = None,
    default: Annotated[bool, typer.Option("--default", help="Go back to the one that holds by default.")] = False,
    as_json: options.AsJson = False,
) -> None:
    """Draw the states that a session may have, and the ways between them, as a Mermaid diagram.

    With --json: as it is configured, to change it and to set it by --set. It holds for the whole installation: when
    this ends, all workers go by it. Sessions in a state that is no more are from then on in that of their status.
    """
    if new and default:
        raise typer.BadParameter("either a file, or the default machine")
    wanted = parsed_machine(options.text_in(new), "json" if new.suffix == ".json" else "toml") if new else None
    async with make_store(settings) as store:
        if new or default:
            await set_machine(store, wanted, make_clock())
        found = await state_machine(store)
    if as_json:
        print_json(found.model_dump(mode="json", exclude_defaults=True))
    else:
        out.print(drawn_machine(found), markup=False, soft_wrap=True)
