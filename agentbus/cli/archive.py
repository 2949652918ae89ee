"""`agentbus archive`: sessions that left the store; look at them, check them, bring them back."""

from typing import Annotated, Any

import typer
from pydantic import TypeAdapter, ValidationError

from agentbus.cli import options
from agentbus.cli.output import err, out, print_fields, print_json, print_rows
from agentbus.cli.running import EXIT_FAILED, run, settings_of
from agentbus.cli.sessions import SessionArgument
from agentbus.composition.app import connected, make_store, need_archive
from agentbus.settings import Settings
from contracts.errors import ArchiveDamaged, ArchiveNotFound
from contracts.ids import SessionId, SessionIdField
from contracts.records import RecordKind
from contracts.session import SessionStatus
from storage.archive import ArchiveEntry, ArchiveStore
from storage.damage import unless_damaged
from workers.archive.archiving import delete_archived
from workers.archive.index import GROUP, read_index, rebuild_index
from workers.archive.restoring import restore_session

app = typer.Typer(
    help="Sessions that left the store: look at them, check them, bring them back.\n\n"
    "Where the archive is: AGENTBUS_ARCHIVE_URL, or --archive.",
    no_args_is_help=True,
)


@app.command("list")
def list_(
    store: options.StoreUrl = None,
    limit: options.Limit = 50,
    cursor: options.Cursor = None,
    wait: options.Wait = None,
    as_json: options.AsJson = False,
    _output: options.Output = None,
) -> None:
    """List the sessions in the archive, the latest first, by the records that the store keeps of them.

    The records of an archive that the store does not know yet: `agentbus archive verify`.
    """
    run(_list(settings_of(store_url=store, wait=wait), limit, cursor, as_json=as_json))


@app.command("show")
def show(
    session_id: SessionArgument,
    archive: options.ArchiveUrl = None,
    as_json: options.AsJson = False,
    _output: options.Output = None,
) -> None:
    """Show an archived session: read from its file, which is checked."""
    run(_show(settings_of(archive_url=archive), _checked(session_id), as_json=as_json))


@app.command("verify")
def verify(
    session_id: Annotated[
        str | None, typer.Argument(metavar="[SESSION_ID]", help="Without it: every session in the archive.")
    ] = None,
    archive: options.ArchiveUrl = None,
    store: options.StoreUrl = None,
    wait: options.Wait = None,
    as_json: options.AsJson = False,
    _output: options.Output = None,
) -> None:
    """Read archived sessions to their end and compare their digests. Exits with 1 if one is damaged.

    Without a session, the records of sessions that the store does not know are made anew.
    """
    settings = settings_of(archive_url=archive, store_url=store, wait=wait)
    run(_verify(settings, _checked(session_id) if session_id else None, as_json=as_json))


@app.command("restore")
def restore(
    session_id: SessionArgument,
    status: Annotated[
        SessionStatus | None,
        typer.Option(help="What it is then; by default active, or expired if its conversation has a later session."),
    ] = None,
    archive: options.ArchiveUrl = None,
    amqp: options.Amqp = None,
    store: options.StoreUrl = None,
    prefix: options.Prefix = None,
    partitions: options.Partitions = None,
    wait: options.Wait = None,
) -> None:
    """Bring a session back with its history. A session worker must run. The file stays, marked as restored."""
    settings = settings_of(
        archive_url=archive, amqp_url=amqp, store_url=store, prefix=prefix, partitions=partitions, wait=wait
    )
    run(_restore(settings, _checked(session_id), status))


@app.command("delete")
def delete(
    session_id: SessionArgument,
    archive: options.ArchiveUrl = None,
    store: options.StoreUrl = None,
    wait: options.Wait = None,
) -> None:
    """Delete the file of a session that was restored or deleted. Refused for one that is in the archive alone."""
    settings = settings_of(archive_url=archive, store_url=store, wait=wait)
    run(_delete(settings, _checked(session_id)))


async def _list(settings: Settings, limit: int, cursor: str | None, *, as_json: bool) -> None:
    async with make_store(settings) as store:
        try:
            page = await store.records.page(RecordKind.ARCHIVED, GROUP, limit=limit, cursor=cursor)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--cursor") from None
    rows = []
    for record in page.items:
        known = unless_damaged(record, read_index)
        if known is None:
            continue
        state = {"platform": known.platform, "owner": known.owner, "restored_at": known.restored_at}
        rows.append({"session_id": known.session_id, **state, **known.archive.model_dump(mode="json")})
    columns = ("session_id", "at", "platform", "owner", "messages", "restored_at")
    print_rows(rows, columns, as_json=as_json, cursor=page.cursor, empty="No session is archived.")


async def _show(settings: Settings, session: SessionId, *, as_json: bool) -> None:
    archive = need_archive(settings)
    entry = await archive.find(session)
    contents = await archive.verify(entry)
    head = contents.head
    counts = {"messages": contents.messages, "events": contents.events, "commits": contents.commits}
    fields = {"session_id": session, "url": entry.url, "size": entry.size, "digest": entry.digest, **counts}
    if as_json:
        print_json(fields | {"head": head.model_dump(mode="json")})
    else:
        shown = {"status", "address", "data", "metadata", "created_at", "last_activity"}
        print_fields(fields | head.model_dump(include=shown) | head.profile.model_dump(exclude_defaults=True))


async def _verify(settings: Settings, session: SessionId | None, *, as_json: bool) -> None:
    archive = need_archive(settings)
    rows: list[dict[str, Any]] = []
    if session:
        rows = [await _verified(archive, await archive.find(session))]
    else:
        async for entry in archive.entries():
            rows.append(await _verified(archive, entry))
    damaged = [row for row in rows if row["health"] != "ok"]
    if session is None and not damaged:
        async with make_store(settings) as store:
            made = await rebuild_index(store, archive)
        if made:
            err.print(f"[dim]{made} records were made anew[/]")
    columns = ("session_id", "health", "messages", "size", "found")
    print_rows(rows, columns, as_json=as_json, empty=f"Nothing is in the archive {archive.place}.")
    if damaged:
        raise typer.Exit(EXIT_FAILED)


async def _verified(archive: ArchiveStore, entry: ArchiveEntry) -> dict[str, Any]:
    row: dict[str, Any] = {"session_id": entry.session_id, "url": entry.url, "size": entry.size}
    try:
        contents = await archive.verify(entry)
    except (ArchiveDamaged, ArchiveNotFound) as error:
        return row | {"health": "damaged", "messages": None, "found": str(error)}
    return row | {"health": "ok", "messages": contents.messages, "found": entry.digest}


async def _restore(settings: Settings, session: SessionId, status: SessionStatus | None) -> None:
    archive = need_archive(settings)
    async with connected(settings) as app:
        head = await restore_session(app.store, archive, app.commands, session, clock=app.clock, status=status)
    out.print(f"restored {session}: {head.status}, {head.message_count} messages")


async def _delete(settings: Settings, session: SessionId) -> None:
    async with make_store(settings) as store:
        await delete_archived(store, need_archive(settings), session)
    out.print(f"deleted the archived copy of {session}")


def _checked(session_id: str) -> SessionId:
    try:
        return TypeAdapter(SessionIdField).validate_python(session_id)
    except ValidationError:
        raise typer.BadParameter(f"{session_id!r} is no session id; see: agentbus archive list") from None
