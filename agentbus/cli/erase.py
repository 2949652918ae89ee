"""`agentbus erase`: a user's data, gone from everywhere, and gone for good."""

from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn

from agentbus.cli import options
from agentbus.cli.output import err, out, print_fields, print_json, print_rows
from agentbus.cli.running import run, settings_of
from agentbus.composition.app import App, connected
from agentbus.settings import Settings
from contracts.expiry import ErasureReceipt
from workers.erasure.erase import Erasing, erase_user, find_user, reapply_erasures
from workers.erasure.plan import Plan

Result = TypeVar("Result")


def erase(
    user: Annotated[
        str | None, typer.Argument(metavar="[USER]", help="The user's id, as sessions name their owner.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be erased; change nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    reapply: Annotated[
        bool, typer.Option("--reapply", help="Erase again who came back with an old backup; takes no USER.")
    ] = False,
    archive: options.ArchiveUrl = None,
    amqp: options.Amqp = None,
    store: options.StoreUrl = None,
    prefix: options.Prefix = None,
    partitions: options.Partitions = None,
    wait: options.Wait = None,
    as_json: options.AsJson = False,
    _output: options.Output = None,
) -> None:
    """Erase a user: their conversations, what they wrote in others', records, parked inputs, archive. For good.

    Their ids on other channels count too where sessions are linked; `--dry-run` shows whom it is about. A session
    worker must run. Everything is read, so this may take minutes; stopped, it goes on when it is run again.
    """
    if reapply == bool(user):
        raise typer.BadParameter("give a user's id, or --reapply", param_hint="USER")
    settings = settings_of(
        archive_url=archive, amqp_url=amqp, store_url=store, prefix=prefix, partitions=partitions, wait=wait
    )
    if user:
        run(_erase(settings, user, dry_run=dry_run, yes=yes, as_json=as_json))
    else:
        run(_reapply(settings, as_json=as_json))


async def _erase(settings: Settings, user: str, *, dry_run: bool, yes: bool, as_json: bool) -> None:
    async with connected(settings) as app:
        erasing = _erasing(app)
        if erasing.archive is None:
            err.print("[yellow]no archive is set[/] (AGENTBUS_ARCHIVE_URL): archived sessions are not looked at")
        plan = await _watched(erasing, find_user, user)
        if dry_run:
            _show_plan(plan, as_json=as_json)
            return
        if not as_json:
            _show_plan(plan, as_json=False)
        if not yes:
            typer.confirm("Erase all of it? It can't be brought back", abort=True, err=True)
        receipt = await _watched(erasing, erase_user, user)
    _show_receipt(receipt, as_json=as_json)


async def _reapply(settings: Settings, *, as_json: bool) -> None:
    async with connected(settings) as app:
        receipts = await reapply_erasures(_erasing(app))
    rows = [receipt.model_dump(mode="json") | {"sessions": len(receipt.sessions)} for receipt in receipts]
    columns = ("subject", "sessions", "messages", "archives", "records", "parked")
    print_rows(rows, columns, as_json=as_json, empty="Nobody who was erased is there again.")


def _erasing(app: App) -> Erasing:
    return Erasing(store=app.store, archive=app.archive, commands=app.commands, clock=app.clock)


async def _watched(erasing: Erasing, work: Callable[[Erasing, str], Awaitable[Result]], user: str) -> Result:
    """Do something long, and show how far it is."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=err, transient=True) as bar:
        task = bar.add_task("", total=None)
        erasing.progress = lambda what, count: bar.update(task, description=f"{what}: {count}")
        return await work(erasing, user)


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


def _show_receipt(receipt: ErasureReceipt, *, as_json: bool) -> None:
    if as_json:
        print_json(receipt.model_dump(mode="json"))
        return
    out.print("\nerased; nothing was found any more. The receipt:")
    print_fields(receipt.model_dump(exclude={"sessions"}) | {"sessions": len(receipt.sessions)})
