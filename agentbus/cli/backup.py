"""`agentbus backup`: backups of the store."""

import asyncio
from contextlib import aclosing
from typing import Annotated, Any, Final

import typer
from click import Choice

from agentbus.cli import options
from agentbus.cli.connecting import connecting
from agentbus.cli.output import err, out, print_fields, print_json, print_rows
from agentbus.cli.progress import showing
from agentbus.cli.running import EXIT_FAILED
from agentbus.composition.app import need_backups
from agentbus.contracts.backup import BackupFormat, Manifest
from agentbus.operations.backup import (
    BackedUp,
    Checked,
    Damaged,
    Fault,
    Keep,
    Listed,
    Wanted,
    create_backup,
    keep_of,
    list_backups,
    prune_backups,
    show_backup,
    verify_backups,
)
from agentbus.operations.restore import (
    Difference,
    Outcome,
    Outcomes,
    RecoveryOptions,
    RecoveryStrategy,
    RestoredSession,
    RestoreRun,
    restore_backup,
)
from agentbus.settings import Settings

app = typer.Typer(
    help="Backups of the store: make them, look at them, verify them, restore them, remove old ones.\n\n"
    "Where they are: AGENTBUS_BACKUP_URL, or --to. By schedule: agentbus worker backup.",
    no_args_is_help=True,
)

_LISTED: Final = 1_000
"""Sessions of a restore that are named one by one."""
_COLUMNS: Final = (
    "backup_id",
    "created_at",
    "kind",
    "format",
    "sessions",
    "messages",
    "damaged",
    "size",
    "description",
)
_Id = Annotated[str, typer.Argument(metavar="BACKUP_ID", help="Of `agentbus backup list`; `latest` for the latest.")]


@app.command("create")
@connecting("store", "backup", "wait", quiet=True)
async def create(
    form: Annotated[
        BackupFormat | None,
        typer.Option("--format", help="How its files are written. [env: AGENTBUS_BACKUP_FORMAT; default: json]"),
    ] = None,
    incremental: Annotated[
        bool, typer.Option("--incremental", help="Read what has changed since the latest one; a full one if none is.")
    ] = False,
    description: Annotated[str, typer.Option(metavar="TEXT", help="What it is for.")] = "",
    tag: Annotated[list[str] | None, typer.Option(metavar="WORD", help="A word to find it by; any number.")] = None,
    *,
    settings: Settings,
    as_json: options.AsJson = False,
) -> None:
    """Make a backup of all that the store holds. Workers may go on meanwhile; each session is as of one moment.

    Interrupted, it is gone on with when the command is run again, for a day; until it is finished it is no backup. An
    incremental one can be restored by itself as well: it names the files of those before it. Exits with 1 if
    something is damaged, which is named: all else is in the backup.
    """
    wanted = Wanted(
        file_format=form or settings.backup.backup_format,
        incremental=incremental,
        description=description,
        tags=tuple(tag or ()),
    )
    damaged = 0
    made: list[Manifest] = []
    with showing(lines=True) as show:
        async with aclosing(create_backup(settings, wanted)) as steps:
            async for step in steps:
                match step:
                    case BackedUp(part, things, written):
                        show(f"backed up: {part}", f"{things}, of which {written} are written anew")
                    case Damaged(damage=damage):
                        damaged += 1
                        err.print(str(damage), markup=False, soft_wrap=True)
                    case Manifest():
                        made.append(step)
    for manifest in made:
        _tell_incomplete(manifest)
        _print(manifest, as_json=as_json)
    if damaged:
        raise typer.Exit(EXIT_FAILED)


@app.command("list")
@connecting("backup")
async def list_(*, settings: Settings, as_json: options.AsJson = False) -> None:
    """List the finished backups, the latest first."""
    place = need_backups(settings)
    rows = [_row(one) for one in await list_backups(place)]
    print_rows(rows, _COLUMNS, as_json=as_json, empty=f"There is no backup in {place.shown}.", shorten=("description",))


@app.command("show")
@connecting("backup")
async def show(backup_id: _Id, *, settings: Settings, as_json: options.AsJson = False) -> None:
    """Show what a backup is, as its manifest says."""
    _print(await show_backup(need_backups(settings), backup_id), as_json=as_json)


@app.command("verify")
@connecting("backup", quiet=True)
async def verify(
    backup_id: Annotated[
        str | None, typer.Argument(metavar="[BACKUP_ID]", help="Without it: all backups, and no file too many.")
    ] = None,
    *,
    settings: Settings,
    as_json: options.AsJson = False,
) -> None:
    """Read every byte of a backup, or of all of them, and compare it with what was written. Exits with 1 on a fault.

    Each file that was changed, cut off, is missing or is there without a reason is named. No key is needed.
    """
    place = need_backups(settings)
    faults: list[dict[str, Any]] = []
    checked = Checked(0, 0)
    with showing() as show_:
        async with aclosing(verify_backups(place, backup_id)) as steps:
            async for step in steps:
                match step:
                    case Fault(path, reason):
                        faults.append({"file": path, "reason": reason})
                    case Checked():
                        checked = step
                        show_("read", f"{checked.files} files, {checked.size} bytes")
    empty = f"{checked.files} files, {checked.size} bytes: all as they were written."
    print_rows(faults, ("file", "reason"), as_json=as_json, empty=empty)
    if faults:
        raise typer.Exit(EXIT_FAILED)


@app.command("restore")
@connecting("backup", "store", "amqp", "prefix", "partitions", "archive", "wait", quiet=True)
async def restore(
    backup_id: _Id,
    strategy: Annotated[
        RecoveryStrategy,
        typer.Option(help="What is done about a session that is there already, and differs; interactive asks."),
    ] = RecoveryStrategy.MERGE,
    preserve_metadata: Annotated[
        bool,
        typer.Option(
            "--metadata/--no-metadata",
            help="Whether sessions come back with their metadata, tags and times, or with messages and data alone.",
        ),
    ] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would become of which session.")] = False,
    *,
    settings: Settings,
    as_json: options.AsJson = False,
) -> None:
    """Restore a backup to the store: all of it is verified before anything is touched.

    An empty store that nobody uses is written directly. In any other one each session comes back through its owner:
    the workers at work on the store, or this process if there are none. Nothing is announced a second time, and what
    was erased stays erased. Interrupted, run it again: it goes on. Exits with 1 if a session could not be restored.
    """
    chosen = RecoveryOptions(strategy=strategy, preserve_metadata=preserve_metadata, ask=_ask)
    came = Outcomes(most=_LISTED)
    with showing(lines=True) as show_:
        async with aclosing(restore_backup(settings, backup_id, chosen, dry_run=dry_run)) as steps:
            async for step in steps:
                match step:
                    case Manifest():
                        _tell_incomplete(step)
                    case Checked():
                        show_("verified", f"{step.files} files, {step.size} bytes")
                    case RestoreRun() | RestoredSession():
                        came.note(step)
                        if total := came.counts.total():
                            show_("sessions looked at" if dry_run else "sessions restored", str(total))
    counts = came.by_name
    listed = [row.model_dump(mode="json") for row in came.sessions]
    if as_json:
        print_json({"dry_run": dry_run, "epoch": came.epoch, "outcomes": counts, "sessions": listed})
    else:
        print_rows(
            listed, ("session_id", "outcome", "reason"), as_json=False, empty="No session differs.", shorten=("reason",)
        )
        would = "would be: " if dry_run else ""
        err.print(would + ", ".join(f"{count} {outcome}" for outcome, count in counts.items()), markup=False)
    if came.counts[Outcome.FAILED]:
        raise typer.Exit(EXIT_FAILED)


async def _ask(difference: Difference) -> RecoveryStrategy:
    """Ask at the terminal what becomes of a session."""
    by_strategy = ", ".join(f"{one}: {outcome}" for one, outcome in difference.outcomes.items())
    err.print(f"{difference.session_id} differs ({by_strategy})", markup=False, soft_wrap=True)
    choices = Choice([one.value for one in difference.outcomes])
    answer = await asyncio.to_thread(typer.prompt, "What to do?", default="skip", type=choices, err=True)
    return RecoveryStrategy(answer)


@app.command("prune")
@connecting("backup", quiet=True)
async def prune(
    last: Annotated[int | None, typer.Option("--last", min=0, metavar="N", help="Keep the latest N.")] = None,
    daily: Annotated[int | None, typer.Option(min=0, metavar="N", help="Keep the latest of N days.")] = None,
    weekly: Annotated[int | None, typer.Option(min=0, metavar="N", help="Keep the latest of N weeks.")] = None,
    monthly: Annotated[int | None, typer.Option(min=0, metavar="N", help="Keep the latest of N months.")] = None,
    remove: Annotated[
        list[str] | None, typer.Option("--remove", metavar="BACKUP_ID", help="Remove this one; any number.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say which would be removed; remove nothing.")] = False,
    *,
    settings: Settings,
    as_json: options.AsJson = False,
) -> None:
    """Remove backups that are not kept any more, and all files that no backup needs.

    How many are kept: these options, and where none is given AGENTBUS_BACKUP_KEEP_LAST and so on. The latest backup of
    each store stays, unless it is named by --remove. Safe while others make backups.
    """
    given = (last, daily, weekly, monthly)
    keep = keep_of(settings)
    if any(one is not None for one in given):
        keep = Keep(last=last or 0, daily=daily or 0, weekly=weekly or 0, monthly=monthly or 0)
    elif remove:
        keep = Keep()
    pruned = await prune_backups(need_backups(settings), keep, remove=remove or (), dry_run=dry_run)
    fields = {"backups": list(pruned.backups), "files": pruned.swept.files, "bytes": pruned.swept.size}
    if as_json:
        print_json(fields)
        return
    done = "would remove" if dry_run else "removed"
    for backup_id in pruned.backups:
        out.print(f"{done} {backup_id}")
    out.print(f"{done} {len(pruned.backups)} backups" + ("" if dry_run else f", {pruned.swept.size} bytes"))


def _tell_incomplete(manifest: Manifest) -> None:
    if not manifest.is_complete:
        err.print(f"backup {manifest.backup_id} lacks {manifest.counts.damaged} things that were damaged", markup=False)


def _row(listed: Listed) -> dict[str, Any]:
    if listed.manifest is None:
        return {"backup_id": listed.backup_id, "kind": "damaged", "description": str(listed.damage)}
    return _fields(listed.manifest)


def _fields(manifest: Manifest) -> dict[str, Any]:
    counts = manifest.counts.model_dump()
    return {
        "backup_id": manifest.backup_id,
        "created_at": manifest.created_at,
        "finished_at": manifest.finished_at,
        "kind": "incremental" if manifest.base else "full",
        "base": manifest.base,
        "format": manifest.file_format,
        "encrypted": manifest.encrypted,
        "source": manifest.source,
        "description": manifest.description,
        "tags": list(manifest.tags),
        **counts,
        "written": manifest.written,
        "size": manifest.size,
    }


def _print(manifest: Manifest, *, as_json: bool) -> None:
    if as_json:
        print_json(_fields(manifest))
    else:
        print_fields(_fields(manifest))
