"""`agentbus topology`: the exchanges and queues on the broker."""

from typing import Annotated, Any

import typer

from agentbus.cli import options
from agentbus.cli.output import out, print_json, print_rows
from agentbus.cli.running import run, settings_of
from agentbus.composition.app import make_bus, make_clock, make_store
from agentbus.settings import Settings
from contracts.topology import MAX_PARTITIONS, Queue
from workers.repartition.change import Repartition, plan_repartition

app = typer.Typer(help="The exchanges and queues on the broker.", no_args_is_help=True)


@app.command("show")
def show(
    prefix: options.Prefix = None,
    partitions: options.Partitions = None,
    as_json: options.AsJson = False,
    _output: options.Output = None,
) -> None:
    """Show what these settings declare; needs no broker."""
    topology = settings_of(prefix=prefix, partitions=partitions).topology
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
def declare(
    amqp: options.Amqp = None,
    prefix: options.Prefix = None,
    partitions: options.Partitions = None,
    wait: options.Wait = None,
) -> None:
    """Declare the exchanges and queues. Idempotent; workers do it at their start too."""
    run(_declare(settings_of(amqp_url=amqp, prefix=prefix, partitions=partitions, wait=wait)))


@app.command("repartition")
def repartition(
    partitions: Annotated[int, typer.Argument(metavar="N", min=1, max=MAX_PARTITIONS, help="How many there will be.")],
    amqp: options.Amqp = None,
    store: options.StoreUrl = None,
    prefix: options.Prefix = None,
    scope: options.ScopePolicy = None,
    wait: options.Wait = None,
) -> None:
    """Change the number of partitions, in order and without loss; interrupted, run it again.

    Nothing is taken in meanwhile, except by the ingress. All workers end by themselves and refuse to start until it is
    done; what waits is moved. Then start everything with AGENTBUS_PARTITIONS=N.
    """
    run(_repartition(settings_of(amqp_url=amqp, store_url=store, prefix=prefix, scope=scope, wait=wait), partitions))


async def _repartition(settings: Settings, partitions: int) -> None:
    async with make_store(settings) as store:
        there = await plan_repartition(store, settings.topology, partitions)
        if there is None:
            out.print(f"there are {partitions} partitions already")
            return
        new = there.model_copy(update={"partitions": partitions})
        async with make_bus(settings, there) as before, make_bus(settings, new) as after:
            await Repartition(before, after, store, make_clock(), say=out.print).run()
    out.print(f"done: start workers, routers and publishers with AGENTBUS_PARTITIONS={partitions}")


async def _declare(settings: Settings) -> None:
    async with make_bus(settings) as bus:
        await bus.declare()
        topology = bus.topology
    out.print(f"declared {len(topology.exchanges())} exchanges and {len(topology.queues())} queues")


def _row(queue: Queue) -> dict[str, Any]:
    bindings = [f"{binding.exchange}:{binding.routing_key}" for binding in queue.bindings]
    return {"name": queue.name, "bindings": ", ".join(bindings), "arguments": queue.arguments}
