"""`agentbus replies`: replies that wait to be sent, and those of which nobody knows whether they were."""

from dataclasses import asdict
from typing import Annotated

import typer

from agentbus.cli import options
from agentbus.cli.connecting import connecting
from agentbus.cli.output import out, print_json, print_rows
from agentbus.composition.app import connected, stored
from agentbus.contracts.replies import ReplyResolution
from agentbus.operations.replies import list_unknown, list_waiting, resolve_reply
from agentbus.settings import Settings

app = typer.Typer(
    help="Replies that wait to be sent, and those of which nobody knows whether they were.", no_args_is_help=True
)

ReplyArgument = Annotated[str, typer.Argument(metavar="REPLY_ID", help="As `agentbus replies list` shows it.")]


@app.command("list")
@connecting("store", "prefix", "partitions", "wait")
async def list_(
    waiting: Annotated[bool, typer.Option("--waiting", help="Those that are to be sent instead.")] = False,
    *,
    settings: Settings,
    limit: options.Limit = 50,
    cursor: options.Cursor = None,
    as_json: options.AsJson = False,
) -> None:
    """List the replies of which nobody knows whether they were sent, the latest first; or those still to be sent.

    One is listed as unknown if the connection, or the worker, died while it was being sent, and the platform can't be
    asked. Look whether it is in the chat, then: `agentbus replies resolve REPLY_ID sent`, `resend` or `failed`.
    """
    async with stored(settings) as app:
        if waiting:
            items, after = await list_waiting(app.store, settings.topology, app.clock, limit=limit), None
        else:
            page = await list_unknown(app.store, settings.topology, app.clock, limit=limit, cursor=cursor)
            items, after = list(page.items), page.cursor
    columns = ("reply_id", "state", "platform", "asked_at", "due_at" if waiting else "reason")
    empty = "No reply waits to be sent." if waiting else "What became of every reply is known."
    rows = [asdict(one) for one in items]
    print_rows(rows, columns, as_json=as_json, cursor=after, empty=empty, shorten=("reason",))


@app.command("resolve")
@connecting("amqp", "store", "prefix", "partitions", "scope", "wait")
async def resolve(
    reply_id: ReplyArgument,
    resolution: Annotated[
        ReplyResolution,
        typer.Argument(
            help="sent: it is in the chat. resend: send it again, marked as possibly doubled. failed: it is not, and "
            "nobody wants it any more."
        ),
    ],
    reason: Annotated[str, typer.Option(help="Why; it is kept with the session.")] = "",
    *,
    settings: Settings,
    as_json: options.AsJson = False,
) -> None:
    """Decide about a reply of which nobody knows whether it was sent."""
    async with connected(settings) as app:
        await resolve_reply(app, reply_id, resolution, reason=reason)
    if as_json:
        print_json({"reply_id": reply_id, "resolution": resolution})
    else:
        out.print(f"{reply_id}: {resolution}")
