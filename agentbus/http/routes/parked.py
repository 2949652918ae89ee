"""Parked inputs: looked at, published again, discarded."""

from base64 import b64decode
from dataclasses import asdict
from enum import StrEnum
from typing import Annotated

from fastapi import Path
from fastapi import Query as InQuery
from pydantic import Field
from starlette.responses import Response

from agentbus.contracts.ids import ConversationId
from agentbus.contracts.parked import ParkedId, ParkedStatus
from agentbus.http.calls import Calls, Given, Paged, With, answered
from agentbus.http.shown import Listed, ParkedListed, ParkedShown, Shown
from agentbus.operations.api_keys import Role
from agentbus.operations.parked import discard_parked, replay_parked
from agentbus.operations.parked import get_parked as parked_input
from agentbus.operations.parked import list_parked as parked_page
from agentbus.operations.unblocking import replay_conversation

calls = Calls("parked")

ConversationPath = Annotated[str, Path(pattern=r"^[a-z2-7]{26}$", description="The conversation's id.")]
ParkedPath = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$", description="The parked input's id.")]


class Which(StrEnum):
    """Which parked inputs are listed."""

    PARKED = "parked"
    """Those that wait for an operator."""
    REPLAYED = "replayed"
    """Those that were published again."""
    DISCARDED = "discarded"
    """Those that are not needed."""
    ANY = "any"
    """All of them."""


class Parked(Paged):
    """Which parked inputs are listed."""

    status: Which = Which.PARKED


class Replay(Given):
    """How a parked input is published again."""

    corrected: str | None = Field(
        default=None,
        min_length=1,
        pattern=r"^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$",
        description="Bytes that take the place of the original ones, in Base64 (RFC 4648).",
    )

    @property
    def body(self) -> bytes | None:
        """The bytes that take the place of the original ones."""
        return None if self.corrected is None else b64decode(self.corrected)


class Replayed(Shown):
    """Where a parked input went."""

    parked_id: ParkedId
    queue: str


class Within(Given):
    """For how long a replay is waited for."""

    within: float = Field(
        default=10.0, ge=0.1, le=20, allow_inf_nan=False, description="Seconds; then the call is made again."
    )


class ReplayedConversation(Shown):
    """What became of a conversation's replay."""

    published: int = Field(description="Inputs that were published again.")
    waits_for: str | None = Field(description="The input that it still waits for; none: it goes on.")
    reason: str = Field(description="Why it still waits.")


@calls.call("GET", "/parked", Role.READ, answers=Listed[ParkedListed])
async def list_parked(query: Annotated[Parked, InQuery()], parts: With) -> Response:
    """List parked inputs, the latest first, without their bytes."""
    status = None if query.status is Which.ANY else ParkedStatus(query.status)
    page = await parked_page(parts.app.store, status, limit=query.limit, cursor=query.after)
    items = tuple(ParkedListed.of(one) for one in page.items)
    return answered(Listed[ParkedListed](items=items, cursor=page.cursor))


@calls.call("GET", "/parked/{parked_id}", Role.READ, answers=ParkedShown)
async def get_parked(parked_id: ParkedPath, parts: With) -> Response:
    """Return a parked input with its original bytes."""
    return answered(ParkedShown.of(await parked_input(parts.app.store, ParkedId(parked_id))))


@calls.call("POST", "/parked/{parked_id}/replay", Role.OPERATE, answers=Replayed)
async def replay_parked_input(parked_id: ParkedPath, parts: With, body: Replay | None = None) -> Response:
    """Publish a parked input again: its own bytes, or corrected ones.

    It has its own id again: one that was applied after all changes nothing. Corrected bytes may hold a command: it is
    given by whoever calls.
    """
    app, scope = parts.app, parts.app.settings.session.scope
    corrected = body.body if body else None
    queue = await replay_parked(app.bus, app.store, ParkedId(parked_id), scope=scope, corrected=corrected, by=app.by)
    return answered(Replayed(parked_id=ParkedId(parked_id), queue=queue))


@calls.call("POST", "/parked/{parked_id}/discard", Role.OPERATE, answers=None, status=204)
async def discard_parked_input(parked_id: ParkedPath, parts: With) -> Response:
    """Say that a parked input is not needed; it stays on record."""
    await discard_parked(parts.app.store, ParkedId(parked_id))
    return Response(status_code=204)


@calls.call("POST", "/conversations/{conversation_id}/replay", Role.OPERATE, answers=ReplayedConversation)
async def replay_parked_conversation(
    conversation_id: ConversationPath, parts: With, body: Within | None = None
) -> Response:
    """Publish all that waits of a conversation again, in its order, until nothing blocks it any more.

    It ends where an input fails once more, or after `within` seconds: then it says what is waited for. Call it again
    once that is mended; again is no change.
    """
    app, within = parts.app, (body or Within()).within
    conversation, scope = ConversationId(conversation_id), app.settings.session.scope
    replayed = await replay_conversation(app.bus, app.store, conversation, scope=scope, within=within, by=app.by)
    return answered(ReplayedConversation(**asdict(replayed)))
