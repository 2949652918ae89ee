"""`agentbus store`: what is kept: told, held to itself, and moved to another store."""

from contextlib import aclosing
from dataclasses import asdict
from typing import Annotated, Any, Final

import typer

from agentbus.cli import keys, options
from agentbus.cli.connecting import connecting
from agentbus.cli.output import print_fields, print_json, print_rows
from agentbus.cli.progress import showing, watching
from agentbus.cli.running import EXIT_FAILED
from agentbus.composition.app import make_archive, make_store
from agentbus.operations.encryption import encrypt_all
from agentbus.operations.store_check import Finding, check_store
from agentbus.operations.store_info import describe_store
from agentbus.operations.store_migrate import Copied, Migrated, Verified, migrate
from agentbus.settings import Settings

app = typer.Typer(help="Look after the store.", no_args_is_help=True)

_FROM: Final = "The store that is copied: sqlite:///file.db, mongodb://host/database or another store's URL."
_TO: Final = "The store that it is copied to: empty, or left in the middle of this very migration."


@app.callback()
def group() -> None:
    """Look after the store."""


app.add_typer(keys.app, name="keys")


@app.command("encrypt")
@connecting("store", "archive", "wait", quiet=True)
async def encrypt(*, settings: Settings, as_json: options.AsJson = False) -> None:
    """Encrypt what the store and the archive hold from before there were master keys. Goes on when it is run again.

    Workers may go on meanwhile. Parked inputs from before stay as they are until they are erased.
    """
    async with make_store(settings) as store:
        with watching() as progress:
            done = await encrypt_all(store, make_archive(settings, store), progress)
    fields = asdict(done)
    if as_json:
        print_json(fields)
    else:
        print_fields(fields)


@app.command("check")
@connecting("store", "wait", quiet=True)
async def check(
    repair: Annotated[
        bool, typer.Option("--repair", help="Rebuild damaged, missing and wrong heads from their logs; nothing else.")
    ] = False,
    *,
    settings: Settings,
    as_json: options.AsJson = False,
) -> None:
    """Read every conversation's log, and hold the sessions' heads to it. Exits with 1 if anything is wrong in the end.

    Workers may go on meanwhile; one that has loaded a wrong head must be restarted after it was repaired. What was
    archived or erased is not brought back: where events have left a log, its heads are left as they are.
    """
    findings: list[Finding] = []
    looked_at = 0
    async with make_store(settings) as store:
        with showing() as show:
            async for one in check_store(store, repair=repair):
                if isinstance(one, Finding):
                    findings.append(one)
                else:
                    looked_at = one.conversations
                show("conversations read", f"{looked_at}, findings: {len(findings)}")
    print_rows(
        [_row(finding) for finding in findings],
        ("subject", "problem", "version", "found", "advice"),
        as_json=as_json,
        empty=f"Nothing is wrong with {looked_at} conversations.",
        shorten=("found", "advice"),
    )
    if not all(finding.repaired for finding in findings):
        raise typer.Exit(EXIT_FAILED)


@app.command("info")
@connecting("store", "wait", quiet=True)
async def info(
    url: Annotated[
        str | None, typer.Argument(metavar="[URL]", help="The store, in place of --store and of AGENTBUS_STORE_URL.")
    ] = None,
    *,
    settings: Settings,
    as_json: options.AsJson = False,
) -> None:
    """Read all that the store holds, and tell how much of what there is, with a digest.

    Two stores hold the same sessions and histories if `digest` is the same, whatever kinds of stores they are, and the
    same of all else if `rest digest` is. Workers may go on meanwhile; the digest is then of no one moment.
    """
    async with make_store(settings, url) as store, aclosing(describe_store(store)) as growing:
        with showing() as show:
            async for found in growing:
                show("read", f"{found.figures.commits} commits, {found.figures.sessions.total()} sessions")
    if as_json:
        print_json(found.as_dict())
    else:
        print_fields(found.as_dict())


@app.command("migrate")
@connecting("wait", quiet=True)
async def migrate_(
    source: Annotated[str, typer.Argument(metavar="FROM_URL", help=_FROM)],
    target: Annotated[str, typer.Argument(metavar="TO_URL", help=_TO)],
    *,
    settings: Settings,
    as_json: options.AsJson = False,
) -> None:
    """Copy all that a store holds to another one, of any kind, and compare them. Exits with 1 if they differ.

    Stop all workers first, and whatever else writes to the store. If it is interrupted, run it again: it goes on where
    it was; until it has ended, workers don't start on the target. The source stays as it is. Locks and the list of
    workers are not copied.
    """
    with showing(lines=True) as show:
        async with aclosing(migrate(settings, source, target)) as steps:
            async for step in steps:
                match step:
                    case Copied(part, things):
                        show(f"copied: {part}", str(things))
                    case Verified(store, figures):
                        show(
                            f"verified: the {store}", f"{figures.commits} commits, {figures.sessions.total()} sessions"
                        )
                    case Migrated(figures):
                        found = figures
    if as_json:
        print_json(found.as_dict())
    else:
        print_fields(found.as_dict())


def _row(finding: Finding) -> dict[str, Any]:
    return {
        "subject": finding.session_id or finding.conversation_id,
        "conversation_id": finding.conversation_id,
        "session_id": finding.session_id,
        "problem": finding.problem,
        "version": finding.version,
        "found": finding.found,
        "advice": "repaired" if finding.repaired else finding.advice,
        "repaired": finding.repaired,
    }
