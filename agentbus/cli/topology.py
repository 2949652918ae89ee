"""`agentbus topology`: the exchanges and queues on the broker."""

from typing import Annotated, Any

import typer

from agentbus.cli import options
from agentbus.cli.connecting import connecting
from agentbus.cli.output import out, print_json, print_rows
from agentbus.contracts.topology import MAX_PARTITIONS, Queue
from agentbus.operations.topology import change_partitions, declare_topology
from agentbus.settings import Settings

app = typer.Typer(help="The exchanges and queues on the broker.", no_args_is_help=True)


@app.command("show")
@connecting("prefix", "partitions")
async def show(*, settings: Settings, as_json: options.AsJson = False) -> None:
    """Show what these settings declare; needs no broker."""
    topology = settings.topology
    if as_json:
        exchanges = [exchange.model_dump(mode="json") for exchange in topology.exchanges()]
        print_json({"exchanges": exchanges, "queues": [_row(queue) for queue in topology.queues()]})
        return
    rows = [{"kind": f"{exchange.type} exchange", "name": exchange.name} for exchange in topology.exchanges()]
    *others, first, last = [*topology.queues()[:3], topology.queues()[-1]]
    rows += [{"kind": "queue", **_row(queue)} for queue in (*others, first)]
    if topology.partitions > 1:
        rows.append({"kind": "...", "name": f"{topology.partitions} partitions in all"})
        rows.append({"kind": "queue", **_row(last)})
    print_rows(rows, ("kind", "name", "bindings", "arguments"), as_json=False, empty="", shorten=("arguments",))


@app.command("declare")
@connecting("amqp", "prefix", "partitions", "wait")
async def declare(*, settings: Settings) -> None:
    """Declare the exchanges and queues. Idempotent; workers do it at their start too."""
    topology = await declare_topology(settings)
    out.print(f"declared {len(topology.exchanges())} exchanges and {len(topology.queues())} queues")


@app.command("repartition")
@connecting("amqp", "store", "prefix", "scope", "wait")
async def repartition(
    partitions: Annotated[int, typer.Argument(metavar="N", min=1, max=MAX_PARTITIONS, help="How many there will be.")],
    *,
    settings: Settings,
) -> None:
    """Change the number of partitions, in order and without loss; interrupted, run it again.

    Nothing is taken in meanwhile, except by the ingress. All workers end by themselves and refuse to start until it is
    done; what waits is moved. Then start everything with AGENTBUS_PARTITIONS=N.
    """
    if await change_partitions(settings, partitions, say=out.print) is None:
        out.print(f"there are {partitions} partitions already")
    else:
        out.print(f"done: start workers, routers and publishers with AGENTBUS_PARTITIONS={partitions}")


def _row(queue: Queue) -> dict[str, Any]:
    bindings = [f"{binding.exchange}:{binding.routing_key}" for binding in queue.bindings]
    return {"name": queue.name, "bindings": ", ".join(bindings), "arguments": queue.arguments}
