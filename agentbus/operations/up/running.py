"""All workers in this process, the HTTP API among them, and who may call it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, cast

from agentbus.composition.app import App, installed
from agentbus.composition.running import work
from agentbus.composition.workers import WORKERS
from agentbus.contracts.members import WorkerKind
from agentbus.operations.api_keys import Role, create_key
from agentbus.settings import Settings
from agentbus.workers.delivery.telemetry import process_registry
from agentbus.workers.installation.joining import until_it_changes


class _Api(Protocol):
    port: int | None
    """Where it listens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """Where everything is, once it is at work."""

    address: str
    """Of the HTTP API."""
    key: str
    """With which it is called: it may do everything."""


async def run_all(settings: Settings, told: Callable[[Running], Awaitable[None]]) -> None:
    """Run a worker of each kind until SIGTERM or SIGINT; tell where they are once they are at work.

    Raises what one of them fails with.
    """
    async with installed(settings, process_registry()) as app:
        workers = {kind: row.make(app) for kind, row in WORKERS.items() if row.in_all(settings)}
        api = cast("_Api", workers[WorkerKind.API])

        async def started() -> None:
            host = settings.api.api_host
            await told(Running(address=f"http://{host}:{api.port}", key=await _first_key(app)))

        await work(list(workers.values()), until_it_changes(app.store, app.bus.topology), started=started)


async def _first_key(app: App) -> str:
    _, text = await create_key(app.store, app.clock, "agentbus up", tuple(Role))
    return text
