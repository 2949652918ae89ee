"""`agentbus events`: watch what happens to sessions."""

import asyncio
from typing import Annotated

import typer

from agentbus.cli import options
from agentbus.cli.connecting import connecting
from agentbus.cli.output import as_line, err, iso, out, print_line
from agentbus.client import AgentBus
from agentbus.composition.app import make_bus
from agentbus.contracts.envelope import EventEnvelope
from agentbus.settings import Settings

app = typer.Typer(help="Watch what happens to sessions.", no_args_is_help=True)


@app.command("tail")
@connecting("amqp", "prefix", "wait")
async def tail(
    patterns: Annotated[
        list[str] | None,
        typer.Argument(metavar="[PATTERN]...", help="Topics, such as 'session.message.*' or 'session.#' (all)."),
    ] = None,
    count: Annotated[int | None, typer.Option(min=1, help="Stop after so many events.")] = None,
    *,
    settings: Settings,
    as_json: options.AsJson = False,
) -> None:
    """Print events as they are announced, from now on, until Ctrl-C."""
    topics = tuple(patterns or ["session.#"])
    seen = 0
    enough = asyncio.Event()
    async with make_bus(settings) as bus:
        client = AgentBus(bus, scope=settings.session.scope)

        @client.on(*topics)
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
            err.print(f"[dim]listening to {', '.join(topics)} (Ctrl-C ends)[/]")
        await enough.wait()
        await client.close()


def _cells(event: EventEnvelope) -> tuple[str, ...]:
    shown = event.data.model_dump(
        mode="json", exclude={"session_id", "sequence", "at", "cause", "platform", "kind"}, exclude_defaults=True
    )
    return iso(event.data.at), event.data.routing_key, event.id, as_line(shown)
