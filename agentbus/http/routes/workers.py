"""Who is at work."""

from starlette.responses import Response

from agentbus.http.calls import Calls, With, answered
from agentbus.http.shown import Workers, WorkerShown
from agentbus.operations.api_keys import Role
from agentbus.operations.workers import live_workers

calls = Calls("workers")


@calls.call("GET", "/workers", Role.READ, answers=Workers)
async def list_workers(parts: With) -> Response:
    """List the workers of every kind that are at work, and the partitions that each owns and stands by for."""
    found = await live_workers(parts.app.store, parts.app.settings)
    items = [WorkerShown(kind=kind, **dict(member)) for kind, members in found.items() for member in members]
    return answered(Workers(items=tuple(items)))
