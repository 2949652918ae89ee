"""`agentbus store keys`: the keys that what people wrote is encrypted with."""

from datetime import UTC
from typing import Annotated

import typer

from agentbus.cli import options
from agentbus.cli.connecting import connecting
from agentbus.cli.output import err, out, print_fields, print_json, print_rows
from agentbus.cli.progress import watching
from agentbus.cli.running import EXIT_FAILED, fail
from agentbus.composition.app import make_clock, make_store
from agentbus.contracts.errors import AgentBusError
from agentbus.operations.encryption import Rotated, master_keys, new_key, rotate
from agentbus.settings import Settings

app = typer.Typer(help="The keys that what people wrote is encrypted with.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Look after the keys that what people wrote is encrypted with."""


@app.command("list")
@connecting("store", "wait", quiet=True)
async def list_(*, settings: Settings, as_json: options.AsJson = False) -> None:
    """List the master keys: which one is active, which are at hand, how many data keys need each.

    One that no data key needs, and that is not active, may be dropped from AGENTBUS_ENCRYPTION_KEYS.
    """
    async with make_store(settings) as store:
        found = await master_keys(store)
    rows = [
        {
            "name": one.name,
            "active": one.active,
            "here": one.here,
            "data_keys": one.data_keys,
            "may_be_dropped": not one.active and not one.data_keys,
        }
        for one in found
    ]
    print_rows(rows, ("name", "active", "here", "data_keys", "may_be_dropped"), as_json=as_json, empty="")


@app.command("new")
def new(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="What it is called; by default after the day.")
    ] = None,
) -> None:
    """Make up a master key, and print it as AGENTBUS_ENCRYPTION_KEYS takes it. It is kept nowhere: keep it safe.

    Whoever loses all master keys loses what was encrypted.
    """
    try:
        made = new_key(name or f"k{make_clock().now().astimezone(UTC):%Y%m%d}")
    except AgentBusError as error:
        fail(error)
    out.print(made, soft_wrap=True, highlight=False)


@app.command("rotate")
@connecting("store", "wait", quiet=True)
async def rotate_(*, settings: Settings, as_json: options.AsJson = False) -> None:
    """Wrap every data key with the active master key, the first of AGENTBUS_ENCRYPTION_KEYS; then others can go.

    What is encrypted stays as it is. Stopped, it goes on when it is run again. Exits with 1 if a data key can't be
    unwrapped, as its master key is missing.
    """
    async with make_store(settings) as store:
        with watching() as progress:
            done = await rotate(store, progress)
    _show(done, as_json=as_json)
    if done.damaged:
        raise typer.Exit(EXIT_FAILED)


def _show(done: Rotated, *, as_json: bool) -> None:
    counts = {"data_keys": done.looked_at, "wrapped_anew": done.wrapped, "failed": len(done.damaged)}
    if as_json:
        print_json(counts | {"damaged": done.damaged})
        return
    print_fields(counts)
    for damage in done.damaged:
        err.print(f"[red]{damage}[/]", soft_wrap=True, markup=True)
