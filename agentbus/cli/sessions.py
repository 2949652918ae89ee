"""`agentbus sessions`: look at sessions and their histories."""

from typing import Annotated, Any

import typer
from pydantic import TypeAdapter, ValidationError

from agentbus.cli import options
from agentbus.cli.output import out, print_fields, print_json, print_rows
from agentbus.cli.running import run, settings_of
from agentbus.client import AgentBus
from agentbus.composition.app import make_store, sending
from agentbus.settings import Settings
from contracts.address import Platform
from contracts.commands import UnblockSession
from contracts.errors import SessionNotFound
from contracts.history import HistoryMessage, SessionFilter
from contracts.ids import SessionId, SessionIdField
from contracts.messages import CommandContent
from contracts.session import SessionState, SessionStatus
from storage.history import history_page
from storage.port import Store

app = typer.Typer(help="Look at sessions and their histories.", no_args_is_help=True)

SessionArgument = Annotated[str, typer.Argument(metavar="SESSION_ID", help="As `agentbus sessions list` shows it.")]


@app.command("list")
def list_(
    platform: Annotated[
        Platform | None, typer.Option(parser=options.platform_of, metavar="WORD", help="Of this platform alone.")
    ] = None,
    chat: Annotated[str | None, typer.Option(help="Of this chat alone.")] = None,
    user: Annotated[str | None, typer.Option(help="Whose last message came from this user.")] = None,
    owner: Annotated[str | None, typer.Option(help="Owned by this user.")] = None,
    agent: Annotated[str | None, typer.Option(help="With this agent.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="With this tag; give it again for more.")] = None,
    status: Annotated[SessionStatus | None, typer.Option(help="In this status alone.")] = None,
    store: options.StoreUrl = None,
    limit: options.Limit = 50,
    cursor: options.Cursor = None,
    wait: options.Wait = None,
    as_json: options.AsJson = False,
    _output: options.Output = None,
) -> None:
    """List sessions, latest activity first."""
    where = SessionFilter(
        platform=platform, chat=chat, user=user, owner=owner, agent_id=agent, tags=tuple(tag or ()), status=status
    )
    run(_list(settings_of(store_url=store, wait=wait), where, limit, cursor, as_json=as_json))


@app.command("show")
def show(
    session_id: SessionArgument,
    store: options.StoreUrl = None,
    wait: options.Wait = None,
    as_json: options.AsJson = False,
    _output: options.Output = None,
) -> None:
    """Show one session."""
    run(_show(settings_of(store_url=store, wait=wait), session_id, as_json=as_json))


@app.command("history")
def history(
    session_id: SessionArgument,
    store: options.StoreUrl = None,
    limit: options.Limit = 50,
    cursor: options.Cursor = None,
    wait: options.Wait = None,
    as_json: options.AsJson = False,
    _output: options.Output = None,
) -> None:
    """Show a session's messages, the latest page first; a page reads from old to new."""
    run(_history(settings_of(store_url=store, wait=wait), session_id, limit, cursor, as_json=as_json))


@app.command("unblock")
def unblock(
    session_id: SessionArgument,
    amqp: options.Amqp = None,
    prefix: options.Prefix = None,
    partitions: options.Partitions = None,
    wait: options.Wait = None,
) -> None:
    """Let a blocked session go on without the parked input that it waits for."""
    settings = settings_of(amqp_url=amqp, prefix=prefix, partitions=partitions, wait=wait)
    run(_unblock(settings, _checked(session_id)))


async def _unblock(settings: Settings, session_id: SessionId) -> None:
    async with sending(settings) as bus:
        await AgentBus(bus, scope=settings.session.scope).send(UnblockSession(session_id=session_id))
    out.print(f"{session_id} goes on")


async def _list(settings: Settings, where: SessionFilter, limit: int, cursor: str | None, *, as_json: bool) -> None:
    async with make_store(settings) as store:
        try:
            page = await store.heads.page(where, limit=limit, cursor=cursor)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--cursor") from None
    rows = [_row(session) for session in page.items]
    columns = ("session_id", "platform", "chat", "user", "status", "messages", "last_activity")
    print_rows(rows, columns, as_json=as_json, cursor=page.cursor, empty="No sessions. Publish: agentbus publish hello")


async def _show(settings: Settings, session_id: str, *, as_json: bool) -> None:
    async with make_store(settings) as store:
        session = await _find(store, session_id)
    if as_json:
        print_json({"session_id": session.session_id} | session.model_dump(mode="json"))
    else:
        print_fields(
            _row(session)
            | session.model_dump(include={"data", "metadata", "created_at", "version"})
            | session.profile.model_dump(exclude_defaults=True)
        )


async def _history(settings: Settings, session_id: str, limit: int, cursor: str | None, *, as_json: bool) -> None:
    async with make_store(settings) as store:
        session = await _find(store, session_id)
        try:
            page = await history_page(store, session, limit=limit, cursor=cursor)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="--cursor") from None
    rows = [message.model_dump(mode="json") if as_json else _message_row(message) for message in page.items]
    columns = ("sent_at", "role", "author", "text")
    print_rows(rows, columns, as_json=as_json, cursor=page.cursor, empty="No messages.")


async def _find(store: Store, session_id: str) -> SessionState:
    session = await store.heads.get(_checked(session_id))
    if session is None or session.status is SessionStatus.DELETED:
        raise SessionNotFound(f"no session {session_id} in this store; see: agentbus sessions list")
    return session


def _checked(session_id: str) -> SessionId:
    try:
        return TypeAdapter(SessionIdField).validate_python(session_id)
    except ValidationError:
        raise typer.BadParameter(f"{session_id!r} is no session id; see: agentbus sessions list") from None


def _row(session: SessionState) -> dict[str, Any]:
    address = session.address
    return {
        "session_id": session.session_id,
        "platform": address.platform if address else None,
        "chat": address.chat if address else None,
        "user": address.user if address else session.profile.owner,
        "status": session.status,
        "messages": session.message_count,
        "last_activity": session.last_activity,
    }


def _message_row(message: HistoryMessage) -> dict[str, Any]:
    content = message.message.content
    text = f"/{content.name} {content.arguments}" if isinstance(content, CommandContent) else content.text
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
