"""`agentbus erase`: a user's data, gone from everywhere, and gone for good."""

from typing import Annotated

import typer

from agentbus.cli import options
from agentbus.cli.connecting import connecting
from agentbus.cli.output import err, out, print_fields, print_json, print_rows
from agentbus.cli.progress import watching
from agentbus.composition.app import App, connected
from agentbus.contracts.expiry import ErasureReceipt
from agentbus.operations.erase import Plan, erase_user, find_user, reapply_erasures
from agentbus.settings import Settings


@connecting("archive", "amqp", "store", "prefix", "partitions", "wait")
async def erase(
    user: Annotated[
        str | None, typer.Argument(metavar="[USER]", help="The user's id, as sessions name their owner.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be erased; change nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    reapply: Annotated[
        bool, typer.Option("--reapply", help="Erase again who came back with an old backup; takes no USER.")
    ] = False,
    *,
    settings: Settings,
    as_json: options.AsJson = False,
) -> None:
    """Erase a user: their conversations, what they wrote in others', records, parked inputs, archive. For good.

    Their ids on other channels count too where sessions are linked; `--dry-run` shows whom it is about. A session
    worker must run. Everything is read, so this may take minutes; stopped, it goes on when it is run again.
    """
    if reapply == bool(user):
        raise typer.BadParameter("give a user's id, or --reapply", param_hint="USER")
    async with connected(settings) as app:
        if user:
            await _erase(app, user, dry_run=dry_run, yes=yes, as_json=as_json)
        else:
            await _reapply(app, as_json=as_json)


async def _erase(app: App, user: str, *, dry_run: bool, yes: bool, as_json: bool) -> None:
    if app.archive is None:
        err.print("[yellow]no archive is set[/] (AGENTBUS_ARCHIVE_URL): archived sessions are not looked at")
    with watching() as progress:
        plan = await find_user(app, user, progress=progress)
    if dry_run:
        _show_plan(plan, as_json=as_json)
        return
    if not as_json:
        _show_plan(plan, as_json=False)
    if not yes:
        typer.confirm("Erase all of it? It can't be brought back", abort=True, err=True)
    with watching() as progress:
        receipt = await erase_user(app, user, progress=progress)
    _show_receipt(receipt, as_json=as_json)


async def _reapply(app: App, *, as_json: bool) -> None:
    receipts = await reapply_erasures(app)
    rows = [receipt.model_dump(mode="json") | {"sessions": len(receipt.sessions)} for receipt in receipts]
    columns = ("subject", "sessions", "messages", "archives", "records", "parked")
    print_rows(rows, columns, as_json=as_json, empty="Nobody who was erased is there again.")


def _show_plan(plan: Plan, *, as_json: bool) -> None:
    fields = {
        "people": sorted(plan.people),
        "identities": sorted(plan.identities),
        "sessions": sorted(plan.sessions),
        "conversations_erased_whole": len(plan.own),
        "conversations_of_others_too": len(plan.shared),
        "messages": plan.messages,
        "archives": plan.archives,
        "records": plan.records,
        "parked": plan.parked,
    }
    if as_json:
        print_json(fields)
    else:
        print_fields(fields)


def _of_backups(receipt: ErasureReceipt) -> str:
    """Return what holds of backups made earlier."""
    if receipt.keys_apart:
        return "what was encrypted is unreadable in every older backup that the data keys are not in"
    if receipt.keys:
        return (
            "older backups of the store hold the user's data keys too: what is in them is unreadable once the master "
            "key of then is gone: agentbus store keys rotate, then drop the old one"
        )
    return "older backups of the store still hold what was erased: after restoring one, agentbus erase --reapply"


def _show_receipt(receipt: ErasureReceipt, *, as_json: bool) -> None:
    if as_json:
        print_json(receipt.model_dump(mode="json"))
        return
    out.print("\nerased; nothing was found any more. The receipt:")
    print_fields(receipt.model_dump(exclude={"sessions"}) | {"sessions": len(receipt.sessions)})
    out.print(f"\n{_of_backups(receipt)}", soft_wrap=True)
