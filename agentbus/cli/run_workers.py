"""`agentbus worker`: start one; start more when load grows."""

from typing import Annotated, Final

import typer

from agentbus.cli.connecting import connecting
from agentbus.composition.running import run_workers
from agentbus.composition.workers import WORKERS
from agentbus.contracts.members import WorkerKind
from agentbus.contracts.urls import LOOPBACK
from agentbus.settings import Settings

ALL: Final = "all"

_KINDS: Final = "\n\n".join(f"**{kind}** {row.does}" for kind, row in WORKERS.items())

HELP: Final = f"""Run workers in this process until SIGTERM or Ctrl-C; they then finish what they have begun.

{_KINDS}

**all** is a worker of each kind, a gateway only where there are accounts for it, backups where there is a place for
them, the HTTP API with AGENTBUS_API_IN_ALL=true.

They declare the topology, wait for a broker or store that is not there yet, and share the work with others of their
kind: start as many as you like, anywhere."""


def _known(words: list[str]) -> list[str]:
    if unknown := [word for word in words if word != ALL and word not in set(WORKERS)]:
        known = ", ".join([*WORKERS, ALL])
        raise typer.BadParameter(f"{', '.join(map(repr, unknown))} is no worker: there are {known}")
    return words


def _kinds(words: list[str], settings: Settings) -> set[WorkerKind]:
    named = {WorkerKind(word) for word in words if word != ALL}
    return named | {kind for kind, row in WORKERS.items() if ALL in words and row.in_all(settings)}


@connecting("archive", "backup", "amqp", "store", "prefix", "partitions", "scope", "wait", patient=True)
async def worker(
    names: Annotated[
        list[str], typer.Argument(metavar="NAME", callback=_known, help=f"{', '.join(WORKERS)}, or {ALL}.")
    ],
    *,
    settings: Settings,
    http_port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, metavar="PORT", help="Serve /live, /ready and /metrics at this port."),
    ] = None,
    http_host: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="The address that --http-port listens at; in a container 0.0.0.0, for all that reach it.",
        ),
    ] = LOOPBACK,
) -> None:
    """Run workers."""
    await run_workers(settings, _kinds(names, settings), http_port=http_port, http_host=http_host)
