"""`agentbus workers`: who is there, of every kind, and who owns what."""

from collections.abc import Sequence
from typing import Any

import typer

from agentbus.cli import options
from agentbus.cli.connecting import connecting
from agentbus.cli.output import print_rows
from agentbus.composition.app import make_store
from agentbus.contracts.ids import Partition
from agentbus.contracts.members import Member
from agentbus.operations.workers import live_workers, ranges
from agentbus.settings import Settings

app = typer.Typer(help="The workers: who is there, and who owns what.", no_args_is_help=True)


@app.command("list")
@connecting("store", "prefix", "wait")
async def list_(*, settings: Settings, as_json: options.AsJson = False) -> None:
    """List the live workers of every kind, and the partitions that each owns and stands by for."""
    async with make_store(settings) as store:
        found = await live_workers(store, settings)
    rows = [
        {"kind": str(kind)} | (member.model_dump(mode="json") if as_json else _row(member))
        for kind, members in found.items()
        for member in members
    ]
    columns = ("worker", "kind", "host", "pid", "status", "seen_at", "owns", "stands_by", "stopped")
    print_rows(rows, columns, as_json=as_json, empty="No worker is alive. Start one: agentbus worker session")


def _row(member: Member) -> dict[str, Any]:
    ranges = {name: _ranges(getattr(member, name)) for name in ("owns", "stopped")}
    ranges["stands_by"] = str(len(member.stands_by))
    shown = member.model_dump(include={"host", "pid", "status", "seen_at"})
    return {"worker": member.worker_id, **shown, **ranges}


def _ranges(partitions: Sequence[Partition]) -> str:
    """Return partitions as people write them: `0-3, 7` and how many there are."""
    return f"{len(partitions)}: {ranges(partitions)}" if partitions else ""
