"""`agentbus workers`: who is there, of every kind, who owns what, and having a partition go to another."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from agentbus.cli import options
from agentbus.cli.connecting import connecting
from agentbus.cli.output import err, out, print_json, print_rows
from agentbus.composition.app import stored
from agentbus.contracts.ids import Partition
from agentbus.contracts.members import HANDED_SECONDS, HandBack, Member, WorkerKind
from agentbus.operations.workers import hand_back, hand_backs, live_workers, ranges
from agentbus.settings import Settings

app = typer.Typer(
    help="The workers: who is there, who owns what, and having a partition go to another.", no_args_is_help=True
)


@app.command("list")
@connecting("store", "prefix", "wait")
async def list_(*, settings: Settings, as_json: options.AsJson = False) -> None:
    """List the live workers of every kind, and the partitions that each owns and stands by for.

    Of partitions that somebody had handed to another worker it is said beside the list, on the error stream.
    """
    async with stored(settings) as app:
        found, asked = await live_workers(app.store, settings), await hand_backs(app)
    rows = [
        {"kind": str(kind)} | (member.model_dump(mode="json") if as_json else _row(member))
        for kind, members in found.items()
        for member in members
    ]
    columns = ("worker", "kind", "host", "pid", "status", "seen_at", "owns", "stands_by", "stopped")
    print_rows(rows, columns, as_json=as_json, empty="No worker is alive. Start one: agentbus worker session")
    owned = {(one.worker_id, partition) for one in found[WorkerKind.SESSION] for partition in one.owns}
    for one in asked:
        err.print(_told(one, has_it=(one.to, one.partition) in owned), markup=False)


@app.command("hand-back")
@connecting("store", "prefix", "partitions", "wait")
async def hand_back_(
    partition: Annotated[int, typer.Argument(min=0, help="Its number.")],
    to: Annotated[
        str | None,
        typer.Option(metavar="WORKER", help="The session worker that gets it. By default who stands next in line."),
    ] = None,
    seconds: Annotated[
        float, typer.Option("--for", metavar="SECONDS", help="For how long; then hashing decides again.")
    ] = HANDED_SECONDS,
    *,
    settings: Settings,
    as_json: options.AsJson = False,
) -> None:
    """Have a partition's owner hand it to another session worker: before maintenance, say, or as it is slow.

    The owner learns of it with its next heartbeat, finishes what it has begun, and closes its channel: order holds,
    and nothing is lost. The partition is the other's for an hour, or --for, while that worker is at work. To have it
    back before: agentbus workers hand-back PARTITION --to WORKER. A worker that is stopped hands back by itself.
    """
    async with stored(settings) as app:
        asked = await hand_back(app, partition, to=to, seconds=seconds)
    if as_json:
        print_json(asked.model_dump(mode="json"))
    else:
        out.print(_told(asked, has_it=False), markup=False)


def _told(asked: HandBack, *, has_it: bool) -> str:
    goes = "was handed" if has_it else "goes"
    until = f"{asked.until:%Y-%m-%d %H:%M:%S} UTC"
    return f"Partition {asked.partition} {goes} from {asked.owner} to {asked.to}, until {until}."


def _row(member: Member) -> dict[str, Any]:
    ranges = {name: _ranges(getattr(member, name)) for name in ("owns", "stopped")}
    ranges["stands_by"] = str(len(member.stands_by))
    shown = member.model_dump(include={"host", "pid", "status", "seen_at"})
    return {"worker": member.worker_id, **shown, **ranges}


def _ranges(partitions: Sequence[Partition]) -> str:
    """Return partitions as people write them: `0-3, 7` and how many there are."""
    return f"{len(partitions)}: {ranges(partitions)}" if partitions else ""
