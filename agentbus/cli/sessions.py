"""`agentbus sessions`: look at sessions and their histories."""

from typing import Annotated, Any

import typer
from pydantic import TypeAdapter, ValidationError

from agentbus.cli import options
from agentbus.cli.connecting import connecting
from agentbus.cli.output import out, print_fields, print_json, print_rows
from agentbus.composition.app import make_store, sending
from agentbus.contracts.address import Platform
from agentbus.contracts.history import HistoryMessage, SessionFilter, SessionSummary
from agentbus.contracts.ids import SessionId, SessionIdField
from agentbus.contracts.messages import as_line
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.operations.sessions import get_session, list_sessions, session_history, unblock_session
from agentbus.settings import Settings

app = typer.Typer(help="Look at sessions and their histories.", no_args_is_help=True)

SessionArgument = Annotated[str, typer.Argument(metavar="SESSION_ID", help="As `agentbus sessions list` shows it.")]


@app.command("list")
@connecting("store", "wait")
async def list_(
    platform: Annotated[
        Platform | None, typer.Option(parser=options.platform_of, metavar="WORD", help="Of this platform alone.")
    ] = None,
    chat: Annotated[str | None, typer.Option(help="Of this chat alone.")] = None,
    user: Annotated[str | None, typer.Option(help="Whose last message came from this user.")] = None,
    owner: Annotated[str | None, typer.Option(help="Owned by this user.")] = None,
    agent: Annotated[str | None, typer.Option(help="With this agent.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="With this tag; give it again for more.")] = None,
    status: Annotated[SessionStatus | None, typer.Option(help="In this status alone.")] = None,
    *,
    settings: Settings,
    limit: options.Limit = 50,
    cursor: options.Cursor = None,
    as_json: options.AsJson = False,
) -> None:
    """List sessions, latest activity first."""
    where = SessionFilter(
        platform=platform, chat=chat, user=user, owner=owner, agent_id=agent, tags=tuple(tag or ()), status=status
    )
    async with make_store(settings) as store:
        page = await list_sessions(store, where, limit=limit, cursor=cursor)
    rows = [_row(session, session.owner) for session in page.items]
    columns = ("session_id", "platform", "chat", "user", "status", "messages", "last_activity")
    print_rows(rows, columns, as_json=as_json, cursor=page.cursor, empty="No sessions. Publish: agentbus publish hello")


@app.command("show")
@connecting("store", "wait")
async def show(
    session_id: SessionArgument,
    *,
    settings: Settings,
    as_json: options.AsJson = False,
) -> None:
    """Show one session."""
    async with make_store(settings) as store:
        session = await get_session(store, _checked(session_id))
    if as_json:
        print_json({"session_id": session.session_id} | session.model_dump(mode="json"))
    else:
        print_fields(
            _row(session, session.profile.owner)
            | session.model_dump(include={"data", "metadata", "created_at", "version"})
            | session.profile.model_dump(exclude_defaults=True)
        )


@app.command("history")
@connecting("store", "wait")
async def history(
    session_id: SessionArgument,
    *,
    settings: Settings,
    limit: options.Limit = 50,
    cursor: options.Cursor = None,
    as_json: options.AsJson = False,
) -> None:
    """Show a session's messages, the latest page first; a page reads from old to new."""
    async with make_store(settings) as store:
        page = await session_history(store, _checked(session_id), limit=limit, cursor=cursor)
    rows = [message.model_dump(mode="json") if as_json else _message_row(message) for message in page.items]
    columns = ("sent_at", "role", "author", "text")
    print_rows(rows, columns, as_json=as_json, cursor=page.cursor, empty="No messages.")


@app.command("unblock")
@connecting("amqp", "prefix", "partitions", "wait")
async def unblock(session_id: SessionArgument, *, settings: Settings) -> None:
    """Let a blocked session go on without the parked input that it waits for."""
    session = _checked(session_id)
    async with sending(settings) as bus:
        await unblock_session(bus, session, scope=settings.session.scope)
    out.print(f"{session} goes on")


def _checked(session_id: str) -> SessionId:
    try:
        return TypeAdapter(SessionIdField).validate_python(session_id)
    except ValidationError:
        raise typer.BadParameter(f"{session_id!r} is no session id; see: agentbus sessions list") from None


def _row(session: SessionState | SessionSummary, owner: str | None) -> dict[str, Any]:
    address = session.address
    return {
        "session_id": session.session_id,
        "platform": address.platform if address else None,
        "chat": address.chat if address else None,
        "user": address.user if address else owner,
        "status": session.status,
        "messages": session.message_count,
        "last_activity": session.last_activity,
    }


def _message_row(message: HistoryMessage) -> dict[str, Any]:
    content = message.message.content
    text = as_line(content)
    marks = [" (edited)"] if message.edited_at else []
    if message.deleted_at:
        text, marks = "", ["(deleted)"]
    marks += [f" {reaction.reaction}" for reaction in message.reactions]
    address = message.message.address
    return {
        "sent_at": message.message.sent_at,
        "role": message.message.role,
        "author": message.message.author or (address.user if address else None),
        "text": text + "".join(marks),
    }
