"""`agentbus sync`: what linked sessions share, and what was done to them."""

import json
from enum import StrEnum
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from agentbus.cli import options
from agentbus.cli.connecting import connecting
from agentbus.cli.output import out, print_fields, print_json, print_rows
from agentbus.cli.sessions import SessionArgument
from agentbus.composition.app import connected, stored
from agentbus.contracts.address import Platform
from agentbus.contracts.errors import SchemaViolation
from agentbus.contracts.sync import Conflict, ConflictStrategy, Resolution, SyncMode, SyncOperation, SyncPolicy
from agentbus.operations.sync import (
    DEFAULT,
    SyncNote,
    SyncReport,
    change_policy,
    forget_policy,
    get_policy,
    history_of_identity,
    history_of_session,
    list_conflicts,
    resolve_conflicts,
    sync_session,
)
from agentbus.settings import Settings

app = typer.Typer(
    help="Share context between the linked sessions of a person: see `agentbus identity`.\n\n"
    "A sync worker does it by itself, unless the policy's mode is manual: `agentbus worker sync`.",
    no_args_is_help=True,
)

IdentityOption = Annotated[str | None, typer.Option(metavar="KEY", help="Of this identity alone.")]


class Take(StrEnum):
    """Which of a conflict's two values to take."""

    HELD = "held"
    """What the session has."""
    OFFERED = "offered"
    """What the linked session has."""


@app.command("run")
@connecting("amqp", "store", "prefix", "partitions", "wait")
async def run_(
    session_id: SessionArgument,
    *,
    settings: Settings,
    as_json: options.AsJson = False,
) -> None:
    """Bring what a session has to those it is linked to, now, whatever the policy's mode."""
    async with connected(settings) as app:
        report = await sync_session(app, session_id)
    if report.identity is None and not as_json:
        out.print(f"{report.source} is linked to nobody: see `agentbus identity link`")
        return
    _print_report(report, as_json=as_json)


@app.command("history")
@connecting("store", "wait")
async def history(
    session: Annotated[str | None, typer.Option(metavar="SESSION_ID", help="Of this session's conversation.")] = None,
    identity: IdentityOption = None,
    *,
    settings: Settings,
    limit: options.Limit = 50,
    cursor: options.Cursor = None,
    as_json: options.AsJson = False,
) -> None:
    """Show who linked, unlinked and changed what, and from where, the latest first.

    An identity's history is that of all conversations that are, or ever were, linked to it.
    """
    if (session is None) == (identity is None):
        raise typer.BadParameter("give --session or --identity")
    async with stored(settings) as app:
        if session is not None:
            page = await history_of_session(app, session, limit=limit, cursor=cursor)
        else:
            page = await history_of_identity(app, identity or "", limit=limit, cursor=cursor)
    rows = [note.model_dump(mode="json") if as_json else _note_row(note) for note in page.items]
    columns = ("session_id", "at", "action", "from", "by", "fields")
    print_rows(rows, columns, as_json=as_json, cursor=page.cursor, empty="Nothing was synced.", shorten=("fields",))


@app.command("conflicts")
@connecting("store", "wait")
async def conflicts(
    identity: IdentityOption = None,
    *,
    settings: Settings,
    limit: options.Limit = 50,
    cursor: options.Cursor = None,
    as_json: options.AsJson = False,
) -> None:
    """List open conflicts: they come up where the policy's strategy is manual. A page has so many sessions.

    Resolve them with `agentbus sync resolve SESSION_ID`.
    """
    async with stored(settings) as app:
        page = await list_conflicts(app, identity, limit=limit, cursor=cursor)
    rows = [
        {"session_id": session.session_id, "identity": session.identity, **_conflict_row(conflict, as_json=as_json)}
        for session in page.items
        for conflict in session.conflicts
    ]
    columns = ("session_id", "source", "field", "held", "offered", "opened_at")
    print_rows(
        rows, columns, as_json=as_json, cursor=page.cursor, empty="No open conflicts.", shorten=("held", "offered")
    )


@app.command("resolve")
@connecting("amqp", "store", "prefix", "partitions", "wait")
async def resolve(
    session_ids: Annotated[
        list[str], typer.Argument(metavar="SESSION_ID...", help="As `agentbus sync conflicts` shows them.")
    ],
    strategy: Annotated[ConflictStrategy | None, typer.Option(help="Decide by this rule; not manual.")] = None,
    take: Annotated[Take | None, typer.Option(help="Take what the session has, or what it was offered.")] = None,
    field: Annotated[
        list[str] | None, typer.Option(metavar="POINTER", help="This one alone, such as /data/city; again for more.")
    ] = None,
    priority: Annotated[
        list[Platform] | None,
        typer.Option(
            parser=options.platform_of, metavar="WORD", help="For source_priority: the first wins; again for more."
        ),
    ] = None,
    *,
    settings: Settings,
    as_json: options.AsJson = False,
) -> None:
    """Resolve open conflicts, by a rule or by choosing; what is chosen goes to the linked sessions too.

    Example: `agentbus sync resolve SESSION_ID --field /data/city --take offered`.
    """
    try:
        offered = None if take is None else take is Take.OFFERED
        resolution = Resolution(strategy=strategy, take_offered=offered, priority=tuple(priority or ()))
    except ValidationError:
        raise typer.BadParameter("give --strategy (not manual), or --take held or --take offered") from None
    async with connected(settings) as app:
        try:
            resolved = await resolve_conflicts(app, session_ids, resolution, tuple(field or ()))
        except SchemaViolation as error:
            raise SchemaViolation(f"--field: {error}") from None
    if as_json:
        print_json({"resolved": [one.model_dump(mode="json") for one in resolved]})
    else:
        out.print(f"{len(resolved)} resolved: {' '.join(one.field for one in resolved)}")


@app.command("policy")
@connecting("store", "wait")
async def policy(
    identity: Annotated[
        str | None, typer.Option(metavar="KEY", help="Of this identity. [default: of all that have none of their own]")
    ] = None,
    mode: Annotated[SyncMode | None, typer.Option(help="When linked sessions are synced.")] = None,
    strategy: Annotated[ConflictStrategy | None, typer.Option(help="Which of two values stays.")] = None,
    data: Annotated[
        list[str] | None, typer.Option(metavar="KEY", help="Keys of data to share; * stands for any text.")
    ] = None,
    metadata: Annotated[
        list[str] | None, typer.Option(metavar="KEY", help="Keys of metadata to share, likewise.")
    ] = None,
    history: Annotated[bool | None, typer.Option(help="Whether messages are copied into the other histories.")] = None,
    operation: Annotated[
        list[SyncOperation] | None, typer.Option(help="What may be done to a session; again for more.")
    ] = None,
    priority: Annotated[
        list[Platform] | None,
        typer.Option(parser=options.platform_of, metavar="WORD", help="For source_priority: the first wins."),
    ] = None,
    delay: Annotated[float | None, typer.Option(help="For delayed: seconds without a change.")] = None,
    interval: Annotated[float | None, typer.Option(help="For batch: seconds from one sync to the next.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take the policy away.")] = False,
    *,
    settings: Settings,
    as_json: options.AsJson = False,
) -> None:
    """Show a sync policy, or set what you give and leave the rest of it as it is.

    Example: `agentbus sync policy --mode delayed --delay 10 --data 'profile' --data 'pref_*'`.
    """
    given = {
        "mode": mode,
        "strategy": strategy,
        "data": data,
        "metadata": metadata,
        "history": history,
        "operations": operation,
        "priority": priority,
        "delay": delay,
        "interval": interval,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    shown = await _policy(settings, identity or DEFAULT, changes, remove=remove)
    fields = shown.model_dump(mode="json") | {"operations": sorted(shown.operations)}
    if as_json:
        print_json(fields)
    else:
        print_fields(fields)


def _print_report(report: SyncReport, *, as_json: bool) -> None:
    rows = [
        {"session_id": one.session_id, "changed": one.changed, "conflicts": one.conflicts, "error": one.error}
        for one in report.sessions
    ]
    if as_json:
        fields = {"source": report.source, "identity": report.identity, "fields": report.fields}
        print_json({**fields, "messages": report.messages, "sessions": rows})
        return
    out.print(f"{report.fields} fields and {report.messages} messages of {report.source} ({report.identity})")
    columns = ("session_id", "changed", "conflicts", "error")
    print_rows(rows, columns, as_json=False, empty="No other session is live.", shorten=("error",))


def _note_row(note: SyncNote) -> dict[str, Any]:
    return {
        "at": note.at,
        "action": note.action.replace("_", " "),
        "session_id": note.session_id,
        "by": note.actor or note.by,
        "from": note.source,
        "fields": " ".join(note.fields),
    }


def _conflict_row(conflict: Conflict, *, as_json: bool) -> dict[str, Any]:
    if as_json:
        return {"field": conflict.field, **conflict.model_dump(mode="json")}
    held, offered = (
        None if one is None else "(removed)" if one.removed else json.dumps(one.value, ensure_ascii=False)
        for one in (conflict.held, conflict.offered)
    )
    return {
        "field": conflict.field,
        "held": held,
        "offered": offered,
        "source": conflict.source,
        "opened_at": conflict.opened_at,
    }


async def _policy(settings: Settings, key: str, changes: dict[str, Any], *, remove: bool) -> SyncPolicy:
    async with stored(settings) as app:
        if remove:
            return await forget_policy(app, key)
        return await (change_policy(app, key, changes) if changes else get_policy(app, key))
