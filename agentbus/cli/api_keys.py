"""`agentbus api-keys`: who may call the HTTP API."""

from typing import Annotated, Any, Final

import typer

from agentbus.cli import options
from agentbus.cli.connecting import connecting
from agentbus.cli.output import err, out, print_json, print_rows
from agentbus.composition.app import make_clock, make_store
from agentbus.operations.api_keys import ApiKey, Role, create_key, list_keys, revoke_key
from agentbus.settings import Settings

app = typer.Typer(help="The keys of the HTTP API: who may call it, and for what.", no_args_is_help=True)

_DAY: Final = 86_400.0


@app.command("create")
@connecting("store", "wait", quiet=True)
async def create(
    name: Annotated[str, typer.Argument(help="What it is for, such as `website`; for people.")],
    role: Annotated[
        list[Role],
        typer.Option(
            help="publish: chat messages. read: everything. operate: change sessions, decide about what is parked. "
            "admin: delete, erase, backups. None includes another: give it again for more."
        ),
    ],
    days: Annotated[float | None, typer.Option(min=0.001, help="How long it is good for. [default: for ever]")] = None,
    *,
    settings: Settings,
    as_json: options.AsJson = False,
) -> None:
    """Make a key, and print it. It is shown this once, and kept nowhere: the store has a digest of it.

    It goes into a header: `Authorization: Bearer ab_...`
    """
    async with make_store(settings) as store:
        expires_in = None if days is None else days * _DAY
        made, text = await create_key(store, make_clock(), name, role, expires_in=expires_in)
    if as_json:
        print_json(_row(made) | {"key": text})
        return
    out.print(text, soft_wrap=True, highlight=False)
    err.print(f"key {made.key_id}, for: {', '.join(made.roles)}. It is not shown again.", soft_wrap=True, markup=False)


@app.command("list")
@connecting("store", "wait", quiet=True)
async def list_(
    *,
    settings: Settings,
    limit: options.Limit = 50,
    cursor: options.Cursor = None,
    as_json: options.AsJson = False,
) -> None:
    """List the keys, the latest first, without their secrets; revoked ones stay in the list."""
    async with make_store(settings) as store:
        page = await list_keys(store, limit=limit, cursor=cursor)
    columns = ("key_id", "name", "roles", "created_at", "expires_at", "revoked_at", "last_used_at")
    empty = "No key. Make one: agentbus api-keys create NAME --role read"
    print_rows([_row(key) for key in page.items], columns, as_json=as_json, cursor=page.cursor, empty=empty)


@app.command("revoke")
@connecting("store", "wait", quiet=True)
async def revoke(
    key_id: Annotated[str, typer.Argument(metavar="KEY_ID", help="As `agentbus api-keys list` shows it.")],
    *,
    settings: Settings,
    as_json: options.AsJson = False,
) -> None:
    """Let a key be good no more, some seconds from now at the latest."""
    async with make_store(settings) as store:
        revoked = await revoke_key(store, make_clock(), key_id)
    if as_json:
        print_json(_row(revoked))
    else:
        out.print(f"{revoked.key_id} ({revoked.name}) is revoked", markup=False)


def _row(key: ApiKey) -> dict[str, Any]:
    return {
        "key_id": key.key_id,
        "name": key.name,
        "roles": [role.value for role in key.roles],
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
        "last_used_at": key.last_used_at,
    }
