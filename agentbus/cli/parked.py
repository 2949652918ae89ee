"""`agentbus parked`: inputs that failed for good; look at them, replay them, discard them."""

from base64 import b64encode
from pathlib import Path
from typing import Annotated

import typer

from agentbus.cli import options
from agentbus.cli.connecting import connecting
from agentbus.cli.output import out, print_fields, print_json, print_rows
from agentbus.composition.app import connected, make_store
from agentbus.contracts.ids import ConversationId
from agentbus.contracts.parked import ParkedId, ParkedStatus
from agentbus.operations.parked import discard_parked, get_parked, list_parked, replay_parked
from agentbus.operations.unblocking import replay_conversation
from agentbus.settings import Settings

app = typer.Typer(help="Inputs that failed for good: look at them, replay them, discard them.", no_args_is_help=True)

ParkedArgument = Annotated[str, typer.Argument(metavar="PARKED_ID", help="As `agentbus parked list` shows it.")]


@app.command("list")
@connecting("store", "wait")
async def list_(
    status: Annotated[ParkedStatus | None, typer.Option(help="In this status alone.")] = ParkedStatus.PARKED,
    everything: Annotated[bool, typer.Option("--all", help="Replayed and discarded ones too.")] = False,
    *,
    settings: Settings,
    limit: options.Limit = 50,
    cursor: options.Cursor = None,
    as_json: options.AsJson = False,
) -> None:
    """List parked inputs, the latest first."""
    async with make_store(settings) as store:
        page = await list_parked(store, None if everything else status, limit=limit, cursor=cursor)
    rows = [parked.model_dump(exclude={"body", "stack"}) for parked in page.items]
    columns = ("parked_id", "parked_at", "status", "code", "attempts", "queue", "reason")
    empty = "Nothing is parked."
    print_rows(rows, columns, as_json=as_json, cursor=page.cursor, empty=empty, shorten=("reason",))


@app.command("show")
@connecting("store", "wait")
async def show(parked_id: ParkedArgument, *, settings: Settings, as_json: options.AsJson = False) -> None:
    """Show a parked input: why it failed, and what it says."""
    async with make_store(settings) as store:
        parked = await get_parked(store, ParkedId(parked_id))
    fields = parked.model_dump(exclude={"body"}) | {"body": parked.body.decode("utf-8", errors="backslashreplace")}
    if as_json:
        print_json(fields | {"body_base64": b64encode(parked.body).decode()})
    else:
        print_fields(fields)


@app.command("replay")
@connecting("amqp", "store", "prefix", "partitions", "scope", "wait")
async def replay(
    parked_id: ParkedArgument,
    body: Annotated[
        Path | None, typer.Option(exists=True, help="Publish this file's bytes instead: the input, corrected.")
    ] = None,
    *,
    settings: Settings,
) -> None:
    """Publish a parked input again, with the same id, to the partition that its conversation has today.

    To correct it: `agentbus parked show ID --json`, save the body, mend it, then `--body FILE`.
    """
    corrected = body.read_bytes() if body else None
    async with connected(settings) as app:
        scope = settings.session.scope
        queue = await replay_parked(app.bus, app.store, ParkedId(parked_id), scope=scope, corrected=corrected)
    out.print(f"published {parked_id} again, to {queue}")


@app.command("replay-conversation")
@connecting("amqp", "store", "prefix", "partitions", "scope", "wait")
async def replay_all(
    conversation_id: Annotated[str, typer.Argument(help="As `agentbus parked list --json` shows it.")],
    *,
    settings: Settings,
) -> None:
    """Publish all that waits of one conversation again, in its order: how a blocked conversation is set going.

    What comes meanwhile waits behind it and follows; a discarded input is passed over.
    """
    async with connected(settings) as app:
        replayed = await replay_conversation(
            app.bus,
            app.store,
            ConversationId(conversation_id),
            scope=settings.session.scope,
            progress=_tell_progress,
        )
    out.print(f"published {replayed.published} inputs of {conversation_id} again")
    replayed.check()


@app.command("discard")
@connecting("store", "wait")
async def discard(parked_id: ParkedArgument, *, settings: Settings) -> None:
    """Say that a parked input is not needed; it stays on record."""
    async with make_store(settings) as store:
        await discard_parked(store, ParkedId(parked_id))
    out.print(f"discarded {parked_id}")


def _tell_progress(published: int, waiting: int) -> None:
    out.print(f"{published} published so far, {waiting} were waiting")
