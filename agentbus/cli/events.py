"""`agentbus events`: watch what happens to sessions."""

import asyncio
from typing import Annotated

import typer

from agentbus.cli import options
from agentbus.cli.output import as_line, err, iso, out, print_line
from agentbus.cli.running import run, settings_of
from agentbus.client import AgentBus
from agentbus.composition.app import make_bus
from agentbus.settings import Settings
from contracts.envelope import EventEnvelope

app = typer.Typer(help="Watch what happens to sessions.", no_args_is_help=True)


@app.command("tail")
def tail(
    patterns: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PATTERN]...", help="Topics, such as 'session.message.*' or 'session.#' (all)."),
    ] = None,
    count: Annotated[int | None, typer.Option(min=1, help="Stop after so many events.")] = None,
    amqp: options.Amqp = None,
    prefix: options.Prefix = None,
    wait: options.Wait = None,
    as_json: options.AsJson = False,
    _output: options.Output = None,
) -> None:
    """Print events as they are announced, from now on, until Ctrl-C."""
    settings = settings_of(amqp_url=amqp, prefix=prefix, wait=wait)
    run(_tail(settings, tuple(patterns or ["session.#"]), count, as_json=as_json))


async def _tail(settings: Settings, patterns: tuple[str, ...], count: int | None, *, as_json: bool) -> None:
    seen = 0
    enough = asyncio.Event()
    async with make_bus(settings) as bus:
        client = AgentBus(bus, scope=settings.session.scope)

        @client.on(*patterns)
        async def show(event: EventEnvelope) -> None:
            nonlocal seen
            if enough.is_set():
                return
            if as_json:
                out.print(event.to_bytes().decode(), markup=False, emoji=False)
            else:
                print_line(_cells(event))
            seen += 1
            if seen == count:
                enough.set()

        await client.start()
        if not as_json:
            err.print(f"[dim]listening to {', '.join(patterns)} (Ctrl-C ends)[/]")
        await enough.wait()
        await client.close()


def _cells(event: EventEnvelope) -> tuple[str, ...]:
    shown = event.data.model_dump(
        mode="json", exclude={"session_id", "sequence", "at", "cause", "platform", "kind"}, exclude_defaults=True
    )
    return iso(event.data.at), event.data.routing_key, event.id, as_line(shown)
