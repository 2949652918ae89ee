"""Who is at work, and having a partition go to another worker."""

from typing import Annotated

from fastapi import Path
from pydantic import Field
from starlette.responses import Response

from agentbus.contracts.base import Id
from agentbus.contracts.members import HANDED_SECONDS, MAX_HANDED_SECONDS, HandBack
from agentbus.contracts.topology import MAX_PARTITIONS
from agentbus.http.calls import Calls, Given, With, answered
from agentbus.http.shown import Workers, WorkerShown
from agentbus.operations.api_keys import Role
from agentbus.operations.workers import hand_back, live_workers

calls = Calls("workers")


class HandingBack(Given):
    """To whom a partition goes, and for how long."""

    to: Id | None = Field(default=None, description="The session worker that gets it; none: who stands next in line.")
    seconds: float = Field(
        default=HANDED_SECONDS, ge=1, le=MAX_HANDED_SECONDS, description="Then hashing decides again."
    )


@calls.call("GET", "/workers", Role.READ, answers=Workers)
async def list_workers(parts: With) -> Response:
    """List the workers of every kind that are at work, and the partitions that each owns and stands by for."""
    found = await live_workers(parts.app.store, parts.app.settings)
    items = [WorkerShown(kind=kind, **dict(member)) for kind, members in found.items() for member in members]
    return answered(Workers(items=tuple(items)))


@calls.call("POST", "/partitions/{partition}/hand-back", Role.OPERATE, answers=HandBack)
async def hand_back_partition(
    partition: Annotated[int, Path(ge=0, lt=MAX_PARTITIONS, description="Its number.")],
    parts: With,
    body: HandingBack | None = None,
) -> Response:
    """Have a partition's owner hand it to another session worker.

    Asked again while it moves, nothing changes. `GET /v1/partitions` shows whose it is.
    """
    given = body or HandingBack()
    return answered(await hand_back(parts.app, partition, to=given.to, seconds=given.seconds))
