"""`agentbus identity`: which sessions are one person's."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from agentbus.cli import options
from agentbus.cli.output import out, print_fields, print_json, print_rows
from agentbus.cli.running import run, settings_of
from agentbus.cli.sessions import SessionArgument
from agentbus.composition.app import App, connected, make_bus, make_clock, make_store
from agentbus.composition.workers import make_sync
from agentbus.sessions.manager.engine import checked_id
from agentbus.settings import Settings
from contracts.errors import SchemaViolation, SessionNotFound
from contracts.sync import Identity
from workers.sync.services import SyncServices

app = typer.Typer(
    help="Link the sessions of one person on several channels, so that they share their context.\n\n"
    "Start with: `agentbus identity link ann SESSION_ID SESSION_ID`, or let the person prove it themselves with a code "
    "from `agentbus identity code SESSION_ID`.",
    no_args_is_help=True,
)

KeyArgument = Annotated[str, typer.Argument(metavar="KEY", help="The identity's key: any name that you choose.")]


@app.command("link")
def link(
    key: KeyArgument,
    session_ids: Annotated[
        list[str], typer.Argument(metavar="SESSION_ID...", help="As `agentbus sessions list` shows them.")
    ],
    name: Annotated[str | None, typer.Option(help="The person's name, for people to read.")] = None,
    amqp: options.Amqp = None,
    store: options.StoreUrl = None,
    prefix: options.Prefix = None,
    partitions: options.Partitions = None,
    wait: options.Wait = None,
    as_json: options.AsJson = False,
    _output: options.Output = None,
) -> None:
    """Say that sessions are one person's; those linked to the same key already stay linked.

    From then on they share what the policy says: see `agentbus sync policy`.
    """
    settings = settings_of(amqp_url=amqp, store_url=store, prefix=prefix, partitions=partitions, wait=wait)
    run(_link(settings, key, session_ids, name, as_json=as_json))


@app.command("unlink")
def unlink(
    session_id: SessionArgument,
    amqp: options.Amqp = None,
    store: options.StoreUrl = None,
    prefix: options.Prefix = None,
    partitions: options.Partitions = None,
    wait: options.Wait = None,
) -> None:
    """Undo a session's link. What was shared stays; nothing more is. `agentbus sync history` keeps the trail."""
    settings = settings_of(amqp_url=amqp, store_url=store, prefix=prefix, partitions=partitions, wait=wait)
    run(_unlink(settings, session_id))


@app.command("show")
def show(
    key: Annotated[str | None, typer.Argument(metavar="[KEY]", help="The identity's key.")] = None,
    session: Annotated[str | None, typer.Option(metavar="SESSION_ID", help="The identity of this session.")] = None,
    store: options.StoreUrl = None,
    wait: options.Wait = None,
    as_json: options.AsJson = False,
    _output: options.Output = None,
) -> None:
    """Show an identity and its sessions, by its key or by one of the sessions."""
    if (key is None) == (session is None):
        raise typer.BadParameter("give a key, or a session with --session")
    settings = settings_of(store_url=store, wait=wait)
    run(_show(settings, key, session, as_json=as_json))


@app.command("code")
def code(
    session_id: SessionArgument,
    minutes: Annotated[float, typer.Option(min=0.1, max=10_080, help="How long it is good for.")] = 10,
    store: options.StoreUrl = None,
    wait: options.Wait = None,
    as_json: options.AsJson = False,
    _output: options.Output = None,
) -> None:
    """Make a claim code: whoever sends it from another channel links that one to this session.

    Show it to the session's user alone. They send it there as it is, or as `/link CODE`; it works once.
    """
    settings = settings_of(store_url=store, wait=wait)
    run(_code(settings, session_id, minutes, as_json=as_json))


@app.command("suggestions")
def suggestions(
    store: options.StoreUrl = None,
    wait: options.Wait = None,
    as_json: options.AsJson = False,
    _output: options.Output = None,
) -> None:
    """List sessions that may be one person's: same verified e-mail address, phone number or handle.

    They are found by the session's metadata: verified_email, verified_phone, handle. Nothing is linked until you
    confirm it.
    """
    run(_suggestions(settings_of(store_url=store, wait=wait), as_json=as_json))


@app.command("confirm")
def confirm(
    suggestion_id: Annotated[str, typer.Argument(metavar="ID", help="As `agentbus identity suggestions` shows it.")],
    dismiss: Annotated[
        bool, typer.Option("--dismiss", help="They are not one person's: do not suggest it again.")
    ] = False,
    amqp: options.Amqp = None,
    store: options.StoreUrl = None,
    prefix: options.Prefix = None,
    partitions: options.Partitions = None,
    wait: options.Wait = None,
    as_json: options.AsJson = False,
    _output: options.Output = None,
) -> None:
    """Link two sessions that were suggested, or dismiss the suggestion."""
    settings = settings_of(amqp_url=amqp, store_url=store, prefix=prefix, partitions=partitions, wait=wait)
    run(_dismiss(settings, suggestion_id) if dismiss else _confirm(settings, suggestion_id, as_json=as_json))


@asynccontextmanager
async def reading(settings: Settings) -> AsyncIterator[SyncServices]:
    """Open the store alone: for commands that ask nothing of a session's owner."""
    async with make_store(settings) as store:
        yield make_sync(App(settings=settings, bus=make_bus(settings), store=store, clock=make_clock()))


@asynccontextmanager
async def acting(settings: Settings) -> AsyncIterator[SyncServices]:
    """Open store and bus: for commands that sessions' owners carry out."""
    async with connected(settings) as app:
        yield make_sync(app)


async def _link(settings: Settings, key: str, sessions: list[str], name: str | None, *, as_json: bool) -> None:
    try:
        Identity(identity_key=key, display_name=name)
    except ValidationError as error:
        raise SchemaViolation("; ".join(f"{item['loc'][-1]}: {item['msg']}" for item in error.errors())) from None
    async with acting(settings) as services:
        _print(await services.identities.link(key, [checked_id(one) for one in sessions], name), as_json=as_json)


async def _unlink(settings: Settings, session_id: str) -> None:
    async with acting(settings) as services:
        identity = await services.identities.unlink(checked_id(session_id))
    out.print(f"{session_id} was not linked" if identity is None else f"{session_id} is no longer {identity}'s")


async def _show(settings: Settings, key: str | None, session: str | None, *, as_json: bool) -> None:
    async with reading(settings) as services:
        identities = services.identities
        found = await (identities.of_session(checked_id(session)) if session else identities.get(key or ""))
    if found is None or not (found.session_ids or found.display_name):
        raise SessionNotFound(f"no session is linked to {key}" if key else f"session {session} is linked to nobody")
    _print(found, as_json=as_json)


async def _code(settings: Settings, session_id: str, minutes: float, *, as_json: bool) -> None:
    async with reading(settings) as services:
        made = await services.claims.issue(checked_id(session_id), valid_for=minutes * 60)
    fields: dict[str, Any] = {"code": made.code, "session_id": made.session_id, "expires_at": made.expires_at}
    if as_json:
        print_json(fields)
    else:
        print_fields(fields)


async def _suggestions(settings: Settings, *, as_json: bool) -> None:
    async with reading(settings) as services:
        found = await services.suggestions.listed()
    rows = [
        {"id": one.suggestion_id, "sessions": " ".join(one.session_ids), "same": one.reason, "at": one.at}
        for one in found
    ]
    print_rows(rows, ("id", "sessions", "same", "at"), as_json=as_json, empty="No suggestions.")


async def _confirm(settings: Settings, suggestion_id: str, *, as_json: bool) -> None:
    async with acting(settings) as services:
        _print(await services.suggestions.confirm(suggestion_id), as_json=as_json)


async def _dismiss(settings: Settings, suggestion_id: str) -> None:
    async with reading(settings) as services:
        await services.suggestions.dismiss(suggestion_id)
    out.print(f"{suggestion_id} will not be suggested again")


def _print(identity: Identity, *, as_json: bool) -> None:
    if as_json:
        print_json(identity.model_dump(mode="json"))
    else:
        print_fields(identity.model_dump())
