"""`agentbus archive`: sessions that left the store; look at them, check them, bring them back."""

from typing import Annotated, Any

import typer
from pydantic import TypeAdapter, ValidationError

from agentbus.cli import options
from agentbus.cli.connecting import connecting
from agentbus.cli.output import err, out, print_fields, print_json, print_rows
from agentbus.cli.running import EXIT_FAILED
from agentbus.cli.sessions import SessionArgument
from agentbus.composition.app import archived, connected, make_store, need_archive
from agentbus.contracts.ids import SessionId, SessionIdField
from agentbus.contracts.session import SessionStatus
from agentbus.operations.archive import (
    Verified,
    delete_archived,
    list_archived,
    read_archived,
    rebuild_index,
    restore_archived,
    verify_archive,
    verify_archived,
)
from agentbus.settings import Settings

app = typer.Typer(
    help="Sessions that left the store: look at them, check them, bring them back.\n\n"
    "Where the archive is: AGENTBUS_ARCHIVE_URL, or --archive.",
    no_args_is_help=True,
)


@app.command("list")
@connecting("store", "wait")
async def list_(
    *,
    settings: Settings,
    limit: options.Limit = 50,
    cursor: options.Cursor = None,
    as_json: options.AsJson = False,
) -> None:
    """List the sessions in the archive, the latest first, by the records that the store keeps of them.

    The records of an archive that the store does not know yet: `agentbus archive verify`.
    """
    async with make_store(settings) as store:
        page = await list_archived(store, limit=limit, cursor=cursor)
    rows = []
    for known in page.items:
        state = {"platform": known.platform, "owner": known.owner, "restored_at": known.restored_at}
        rows.append({"session_id": known.session_id, **state, **known.archive.model_dump(mode="json")})
    columns = ("session_id", "at", "platform", "owner", "messages", "restored_at")
    print_rows(rows, columns, as_json=as_json, cursor=page.cursor, empty="No session is archived.")


@app.command("show")
@connecting("archive")
async def show(session_id: SessionArgument, *, settings: Settings, as_json: options.AsJson = False) -> None:
    """Show an archived session: read from its file, which is checked."""
    session = _checked(session_id)
    async with archived(settings) as archive:
        entry, contents = await read_archived(archive, session)
    head = contents.head
    counts = {"messages": contents.messages, "events": contents.events, "commits": contents.commits}
    fields = {"session_id": session, "url": entry.url, "size": entry.size, "digest": entry.digest, **counts}
    if as_json:
        print_json(fields | {"head": head.model_dump(mode="json")})
    else:
        shown = {"status", "address", "data", "metadata", "created_at", "last_activity"}
        print_fields(fields | head.model_dump(include=shown) | head.profile.model_dump(exclude_defaults=True))


@app.command("verify")
@connecting("archive", "store", "wait")
async def verify(
    session_id: Annotated[
        str | None, typer.Argument(metavar="[SESSION_ID]", help="Without it: every session in the archive.")
    ] = None,
    *,
    settings: Settings,
    as_json: options.AsJson = False,
) -> None:
    """Read archived sessions to their end and compare their digests. Exits with 1 if one is damaged.

    Without a session, the records of sessions that the store does not know are made anew.
    """
    session = _checked(session_id) if session_id else None
    async with archived(settings) as archive:
        found = [await verify_archived(archive, session)] if session else [one async for one in verify_archive(archive)]
        damaged = any(one.damage for one in found)
        if session is None and not damaged:
            async with make_store(settings) as store:
                made = await rebuild_index(store, archive)
            if made:
                err.print(f"[dim]{made} records were made anew[/]")
    columns = ("session_id", "health", "messages", "size", "found")
    empty = f"Nothing is in the archive {archive.place}."
    print_rows([_row(one) for one in found], columns, as_json=as_json, empty=empty)
    if damaged:
        raise typer.Exit(EXIT_FAILED)


@app.command("restore")
@connecting("archive", "amqp", "store", "prefix", "partitions", "wait")
async def restore(
    session_id: SessionArgument,
    status: Annotated[
        SessionStatus | None,
        typer.Option(help="What it is then; by default active, or expired if its conversation has a later session."),
    ] = None,
    *,
    settings: Settings,
) -> None:
    """Bring a session back with its history. A session worker must run. The file stays, marked as restored."""
    session = _checked(session_id)
    need_archive(settings)
    async with connected(settings) as app:
        head = await restore_archived(app, session, status=status)
    out.print(f"restored {session}: {head.status}, {head.message_count} messages")


@app.command("delete")
@connecting("archive", "store", "wait")
async def delete(session_id: SessionArgument, *, settings: Settings) -> None:
    """Delete the file of a session that was restored or deleted. Refused for one that is in the archive alone."""
    session = _checked(session_id)
    async with make_store(settings) as store:
        await delete_archived(store, need_archive(settings, store), session)
    out.print(f"deleted the archived copy of {session}")


def _row(verified: Verified) -> dict[str, Any]:
    health, found = ("damaged", verified.damage) if verified.damage else ("ok", verified.digest)
    row = {"session_id": verified.session_id, "url": verified.url, "size": verified.size}
    return row | {"health": health, "messages": verified.messages, "found": found}


def _checked(session_id: str) -> SessionId:
    try:
        return TypeAdapter(SessionIdField).validate_python(session_id)
    except ValidationError:
        raise typer.BadParameter(f"{session_id!r} is no session id; see: agentbus archive list") from None
