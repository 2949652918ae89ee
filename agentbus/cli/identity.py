"""`agentbus identity`: which sessions are one person's."""

from typing import Annotated, Any

import typer

from agentbus.cli import options
from agentbus.cli.connecting import connecting
from agentbus.cli.output import out, print_fields, print_json, print_rows
from agentbus.cli.sessions import SessionArgument
from agentbus.composition.app import connected, stored
from agentbus.contracts.sync import Identity
from agentbus.operations.identity import (
    confirm_suggestion,
    dismiss_suggestion,
    get_identity,
    identity_of,
    issue_code,
    link_sessions,
    list_suggestions,
    unlink_session,
)
from agentbus.settings import Settings

app = typer.Typer(
    help="Link the sessions of one person on several channels, so that they share their context.\n\n"
    "Start with: `agentbus identity link ann SESSION_ID SESSION_ID`, or let the person prove it themselves with a code "
    "from `agentbus identity code SESSION_ID`.",
    no_args_is_help=True,
)

KeyArgument = Annotated[str, typer.Argument(metavar="KEY", help="The identity's key: any name that you choose.")]


@app.command("link")
@connecting("amqp", "store", "prefix", "partitions", "wait")
async def link(
    key: KeyArgument,
    session_ids: Annotated[
        list[str], typer.Argument(metavar="SESSION_ID...", help="As `agentbus sessions list` shows them.")
    ],
    name: Annotated[str | None, typer.Option(help="The person's name, for people to read.")] = None,
    *,
    settings: Settings,
    as_json: options.AsJson = False,
) -> None:
    """Say that sessions are one person's; those linked to the same key already stay linked.

    From then on they share what the policy says: see `agentbus sync policy`.
    """
    async with connected(settings) as app:
        _print(await link_sessions(app, key, session_ids, name), as_json=as_json)


@app.command("unlink")
@connecting("amqp", "store", "prefix", "partitions", "wait")
async def unlink(session_id: SessionArgument, *, settings: Settings) -> None:
    """Undo a session's link. What was shared stays; nothing more is. `agentbus sync history` keeps the trail."""
    async with connected(settings) as app:
        identity = await unlink_session(app, session_id)
    out.print(f"{session_id} was not linked" if identity is None else f"{session_id} is no longer {identity}'s")


@app.command("show")
@connecting("store", "wait")
async def show(
    key: Annotated[str | None, typer.Argument(metavar="[KEY]", help="The identity's key.")] = None,
    session: Annotated[str | None, typer.Option(metavar="SESSION_ID", help="The identity of this session.")] = None,
    *,
    settings: Settings,
    as_json: options.AsJson = False,
) -> None:
    """Show an identity and its sessions, by its key or by one of the sessions."""
    if (key is None) == (session is None):
        raise typer.BadParameter("give a key, or a session with --session")
    async with stored(settings) as app:
        found = await (identity_of(app, session) if session else get_identity(app, key or ""))
    _print(found, as_json=as_json)


@app.command("code")
@connecting("store", "wait")
async def code(
    session_id: SessionArgument,
    minutes: Annotated[float, typer.Option(min=0.1, max=10_080, help="How long it is good for.")] = 10,
    *,
    settings: Settings,
    as_json: options.AsJson = False,
) -> None:
    """Make a claim code: whoever sends it from another channel links that one to this session.

    Show it to the session's user alone. They send it there as it is, or as `/link CODE`; it works once.
    """
    async with stored(settings) as app:
        made = await issue_code(app, session_id, valid_for=minutes * 60)
    fields: dict[str, Any] = {"code": made.code, "session_id": made.session_id, "expires_at": made.expires_at}
    if as_json:
        print_json(fields)
    else:
        print_fields(fields)


@app.command("suggestions")
@connecting("store", "wait")
async def suggestions(*, settings: Settings, as_json: options.AsJson = False) -> None:
    """List sessions that may be one person's: same verified e-mail address, phone number or handle.

    They are found by the session's metadata: verified_email, verified_phone, handle. Nothing is linked until you
    confirm it.
    """
    async with stored(settings) as app:
        found = await list_suggestions(app)
    rows = [
        {"id": one.suggestion_id, "sessions": " ".join(one.session_ids), "same": one.reason, "at": one.at}
        for one in found
    ]
    print_rows(rows, ("id", "sessions", "same", "at"), as_json=as_json, empty="No suggestions.")


@app.command("confirm")
@connecting("amqp", "store", "prefix", "partitions", "wait")
async def confirm(
    suggestion_id: Annotated[str, typer.Argument(metavar="ID", help="As `agentbus identity suggestions` shows it.")],
    dismiss: Annotated[
        bool, typer.Option("--dismiss", help="They are not one person's: do not suggest it again.")
    ] = False,
    *,
    settings: Settings,
    as_json: options.AsJson = False,
) -> None:
    """Link two sessions that were suggested, or dismiss the suggestion."""
    if not dismiss:
        async with connected(settings) as app:
            _print(await confirm_suggestion(app, suggestion_id), as_json=as_json)
        return
    async with stored(settings) as app:
        await dismiss_suggestion(app, suggestion_id)
    out.print(f"{suggestion_id} will not be suggested again")


def _print(identity: Identity, *, as_json: bool) -> None:
    if as_json:
        print_json(identity.model_dump(mode="json"))
    else:
        print_fields(identity.model_dump())
