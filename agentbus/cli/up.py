"""`agentbus up`: everything on this machine, for a try."""

from contextlib import AsyncExitStack
from typing import Annotated, Any

import typer

from agentbus.cli import options
from agentbus.cli.output import err, out, print_json
from agentbus.cli.running import run, settings_of
from agentbus.contracts.errors import ConfigurationError
from agentbus.operations.up.running import Running, run_all
from agentbus.operations.up.servers import guarded_folder, installed_programs, private_servers


def up(
    *,
    port: Annotated[int, typer.Option(min=0, max=65535, help="The HTTP API's port; 0: a free one.")] = 8090,
    embedded: Annotated[
        bool | None,
        typer.Option(
            "--embedded/--servers",
            help="In this process alone, on SQLite; or with a private RabbitMQ and MongoDB, which must be installed. "
            "[default: with them if they are]",
        ),
    ] = None,
    as_json: options.AsJson = False,
) -> None:
    """Run everything on this machine, for a try, until Ctrl-C: broker, store, all workers, the HTTP API.

    Prints where the dashboard and the API are, and a key for both. Nothing is kept afterwards: all of it is in a
    temporary folder, and listens to this machine alone. With a private RabbitMQ and MongoDB it also prints their URLs,
    for your own programs.
    """
    run(_up(port, embedded, as_json=as_json))


async def _up(port: int, embedded: bool | None, *, as_json: bool) -> None:
    async with AsyncExitStack() as stack:
        folder = await stack.enter_async_context(guarded_folder())
        programs, missing = installed_programs()
        if embedded is False and programs is None:
            raise ConfigurationError(f"{', '.join(missing)} not found on PATH: install what is missing, or --embedded")
        where: dict[str, Any] = {"amqp_url": "memory://", "store_url": f"sqlite:///{folder}/sessions.db"}
        shown: dict[str, str] = {}
        if programs is not None and not embedded:
            err.print("starting a private RabbitMQ and MongoDB ...")
            servers = await stack.enter_async_context(private_servers(programs, folder))
            shown = {"amqp_url": servers.amqp_url, "store_url": servers.store_url}
            where |= shown
        elif embedded is None:
            err.print(f"without {', '.join(missing)}: in this process alone, on SQLite")
        settings = settings_of(
            **where,
            archive_url=f"file://{folder}/archive",
            backup_url=f"file://{folder}/backups",
            api_in_all=True,
            api_port=port,
            patient=True,
            quiet=True,
        )

        async def told(running: Running) -> None:
            _print(running, shown, as_json=as_json)

        await run_all(settings, told)


def _print(running: Running, servers: dict[str, str], *, as_json: bool) -> None:
    if as_json:
        print_json({"address": running.address, "key": running.key} | servers)
        return
    out.print(f"\ndashboard {running.address}/", soft_wrap=True, highlight=False)
    out.print(f"HTTP API  {running.address}/v1/sessions", soft_wrap=True, highlight=False)
    out.print(f"its key   {running.key}", soft_wrap=True, highlight=False)
    for name, url in servers.items():
        out.print(f"export AGENTBUS_{name.upper()}='{url}'", soft_wrap=True, highlight=False, markup=False)
    out.print(
        f"\ncurl -H 'Authorization: Bearer {running.key}' {running.address}/v1/sessions\n\nCtrl-C ends all of it.",
        soft_wrap=True,
        highlight=False,
        markup=False,
    )
