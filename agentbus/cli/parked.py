"""`agentbus parked`: inputs that failed for good; look at them, replay them, discard them."""

from base64 import b64encode
from pathlib import Path
from typing import Annotated, Any

import typer

from agentbus.cli import options
from agentbus.cli.output import out, print_fields, print_json, print_rows
from agentbus.cli.running import run, settings_of
from agentbus.composition.app import connected, make_store
from agentbus.parked import ParkedNotFound, discard_parked, replay_parked
from agentbus.settings import Settings
from agentbus.unblocking import replay_conversation
from contracts.ids import ConversationId
from contracts.parked import ParkedId, ParkedInput, ParkedStatus

app = typer.Typer(help="Inputs that failed for good: look at them, replay them, discard them.", no_args_is_help=True)

ParkedArgument = Annotated[str, typer.Argument(metavar="PARKED_ID", help="As `agentbus parked list` shows it.")]


@app.command("list")
def list_(
    status: Annotated[ParkedStatus | None, typer.Option(help="In this status alone.")] = ParkedStatus.PARKED,
    everything: Annotated[bool, typer.Option("--all", help="Replayed and discarded ones too.")] = False,
    store: options.StoreUrl = None,
    limit: options.Limit = 50,
    cursor: options.Cursor = None,
    wait: options.Wait = None,
    as_json: options.AsJson = False,
    _output: options.Output = None,
) -> None:
    """List parked inputs, the latest first."""
    settings = settings_of(store_url=store, wait=wait)
    run(_list(settings, None if everything else status, limit, cursor, as_json=as_json))


@app.command("show")
def show(
    parked_id: ParkedArgument,
    store: options.StoreUrl = None,
    wait: options.Wait = None,
    as_json: options.AsJson = False,
    _output: options.Output = None,
) -> None:
    """Show a parked input: why it failed, and what it says."""
    run(_show(settings_of(store_url=store, wait=wait), ParkedId(parked_id), as_json=as_json))


@app.command("replay")
def replay(
    parked_id: ParkedArgument,
    body: Annotated[
        Path | None, typer.Option(exists=True, help="Publish this file's bytes instead: the input, corrected.")
    ] = None,
    amqp: options.Amqp = None,
    store: options.StoreUrl = None,
    prefix: options.Prefix = None,
    partitions: options.Partitions = None,
    scope: options.ScopePolicy = None,
    wait: options.Wait = None,
) -> None:
    """Publish a parked input again, with the same id, to the partition that its conversation has today.

    To correct it: `agentbus parked show ID --json`, save the body, mend it, then `--body FILE`.
    """
    settings = settings_of(amqp_url=amqp, store_url=store, prefix=prefix, partitions=partitions, scope=scope, wait=wait)
    corrected = body.read_bytes() if body else None
    run(_replay(settings, ParkedId(parked_id), corrected))


@app.command("replay-conversation")
def replay_all(
    conversation_id: Annotated[str, typer.Argument(help="As `agentbus parked list --json` shows it.")],
    amqp: options.Amqp = None,
    store: options.StoreUrl = None,
    prefix: options.Prefix = None,
    partitions: options.Partitions = None,
    scope: options.ScopePolicy = None,
    wait: options.Wait = None,
) -> None:
    """Publish all that waits of one conversation again, in its order: how a blocked conversation is set going.

    What comes meanwhile waits behind it and follows; a discarded input is passed over.
    """
    settings = settings_of(amqp_url=amqp, store_url=store, prefix=prefix, partitions=partitions, scope=scope, wait=wait)
    run(_replay_conversation(settings, ConversationId(conversation_id)))


@app.command("discard")
def discard(parked_id: ParkedArgument, store: options.StoreUrl = None, wait: options.Wait = None) -> None:
    """Say that a parked input is not needed; it stays on record."""
    run(_discard(settings_of(store_url=store, wait=wait), ParkedId(parked_id)))


async def _list(
    settings: Settings, status: ParkedStatus | None, limit: int, cursor: str | None, *, as_json: bool
) -> None:
    async with make_store(settings) as store:
        try:
            page = await store.list_parked(status, limit=limit, cursor=cursor)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--cursor") from None
    rows = [parked.model_dump(exclude={"body", "stack"}) for parked in page.items]
    columns = ("parked_id", "parked_at", "status", "code", "attempts", "queue", "reason")
    empty = "Nothing is parked."
    print_rows(rows, columns, as_json=as_json, cursor=page.cursor, empty=empty, shorten=("reason",))


async def _show(settings: Settings, parked_id: ParkedId, *, as_json: bool) -> None:
    async with make_store(settings) as store:
        parked = await store.parked(parked_id)
    if parked is None:
        raise ParkedNotFound(parked_id)
    fields = _shown(parked)
    if as_json:
        print_json(fields | {"body_base64": b64encode(parked.body).decode()})
    else:
        print_fields(fields)


def _shown(parked: ParkedInput) -> dict[str, Any]:
    return parked.model_dump(exclude={"body"}) | {"body": parked.body.decode("utf-8", errors="backslashreplace")}


async def _replay(settings: Settings, parked_id: ParkedId, corrected: bytes | None) -> None:
    async with connected(settings) as app:
        queue = await replay_parked(app.bus, app.store, parked_id, scope=settings.session.scope, corrected=corrected)
    out.print(f"published {parked_id} again, to {queue}")


async def _replay_conversation(settings: Settings, conversation: ConversationId) -> None:
    async with connected(settings) as app:
        replayed = await replay_conversation(
            app.bus, app.store, conversation, scope=settings.session.scope, progress=_tell_progress
        )
    out.print(f"published {replayed.published} inputs of {conversation} again")
    replayed.check()


def _tell_progress(published: int, waiting: int) -> None:
    out.print(f"{published} published so far, {waiting} were waiting")


async def _discard(settings: Settings, parked_id: ParkedId) -> None:
    async with make_store(settings) as store:
        await discard_parked(store, parked_id)
    out.print(f"discarded {parked_id}")
