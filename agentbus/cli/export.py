"""`agentbus export`: one session in a file, and back."""

from pathlib import Path
from typing import Annotated

import typer

from agentbus.cli import options
from agentbus.cli.connecting import connecting
from agentbus.cli.output import out, print_fields, print_json
from agentbus.cli.running import EXIT_FAILED
from agentbus.contracts.backup import BackupFormat
from agentbus.operations.restore import Outcome, RecoveryOptions, export_session, import_session
from agentbus.settings import Settings


@connecting("store", "archive", "wait", quiet=True)
async def export(
    session: Annotated[
        str, typer.Argument(metavar="SESSION", help="A session's id; or an exported file, for another format of it.")
    ],
    form: Annotated[
        BackupFormat, typer.Option("--format", help="How the file is written; pickles need AGENTBUS_BACKUP_KEY.")
    ] = BackupFormat.JSON,
    file: Annotated[Path | None, typer.Option(metavar="PATH", help="The file. [default: SESSION.FORMAT]")] = None,
    *,
    settings: Settings,
    as_json: options.AsJson = False,
) -> None:
    """Write a session with its history to a file, which `agentbus import` reads.

    An archived session is read from the archive. An exported file in the place of the session is written in another
    format.
    """
    path = await export_session(settings, session, form, file)
    if as_json:
        print_json({"path": str(path), "format": form, "size": path.stat().st_size})
    else:
        out.print(str(path), markup=False, soft_wrap=True)


async def import_exported(settings: Settings, path: Path, *, as_json: bool) -> None:
    """Bring an exported session into the store, and print what became of it."""
    row = await import_session(settings, path, RecoveryOptions())
    fields = row.model_dump(mode="json")
    if as_json:
        print_json(fields)
    else:
        print_fields(fields)
    if row.outcome is Outcome.FAILED:
        raise typer.Exit(EXIT_FAILED)
