"""Publishing chat messages, and awaiting their commit."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Annotated
from uuid import uuid4

from fastapi import Query as InQuery
from pydantic import Field
from starlette.responses import Response

from agentbus.contracts.address import Address
from agentbus.contracts.base import Id, Name, Timestamp
from agentbus.contracts.envelope import InputEnvelope
from agentbus.contracts.errors import ReplyTimeout, RequestReused
from agentbus.contracts.events import AnyEvent, MessageAppended
from agentbus.contracts.ids import ConversationId, InputId
from agentbus.contracts.messages import Content, InboundMessage, Spoken
from agentbus.http.access import Caller
from agentbus.http.calls import By, Calls, Given, IdempotencyKey, Parts, Query, With, answered
from agentbus.http.problems import NotAllowed
from agentbus.http.shown import Published
from agentbus.operations.api_keys import Role
from agentbus.workers.delivery.inputs import Inputs

_SOURCE = "/agentbus/http"

calls = Calls("messages")


class Wait(Query):
    """For how long a commit is awaited."""

    wait: float = Field(
        default=10.0,
        ge=0,
        le=25,
        allow_inf_nan=False,
        description="Seconds for which the commit is awaited; 0: the answer comes once the broker keeps the message.",
    )


class NewMessage(Given):
    """A chat message, as its channel tells it."""

    address: Address
    message_id: Id | None = Field(
        default=None,
        description="The platform's id of it: the same one again changes nothing. Without it the Idempotency-Key is, "
        "and without that one it is made up.",
    )
    sent_at: Timestamp | None = Field(default=None, description="When it was sent; without it: now.")
    sender_name: Name | None = Field(default=None, description="The sender's name as shown to people.")
    content: Content


@calls.call(
    "POST",
    "/messages",
    Role.PUBLISH,
    answers=Published,
    for_users=True,
    others={202: {"model": Published, "description": "The broker keeps it; its commit was not awaited to its end."}},
)
async def publish_message(
    body: NewMessage,
    query: Annotated[Wait, InQuery()],
    parts: With,
    by: By,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Publish a chat message, and await its commit.

    With the same `Idempotency-Key`, or the same `message_id`, it is there once, however often it is sent; with another
    content under it the call is refused (422).
    """
    message = _message(body, parts, by, idempotency_key)
    now = parts.app.clock.now()
    envelope = InputEnvelope(id=idempotency_key or message.input_id(), source=_SOURCE, time=now, data=message)
    scope = parts.app.settings.session.scope
    inputs, conversation = Inputs(parts.app.bus, scope=scope, source=_SOURCE), envelope.conversation(scope)
    confirmed = Published(committed=False, input_id=envelope.input_id, conversation_id=conversation)
    if not query.wait:
        with inputs.on_their_way([envelope]) as left:
            await inputs.publish(left)
        return answered(confirmed, HTTPStatus.ACCEPTED)
    try:
        reply = await inputs.request(envelope, timeout=query.wait)
    except ReplyTimeout:
        return answered(confirmed, HTTPStatus.ACCEPTED)
    if reply.repeated:
        await _check_same(parts, conversation, envelope.input_id, message)
    said = {"session_id": reply.session_id, "message": reply.message, "version": reply.version or None}
    return answered(confirmed.model_copy(update={"committed": True, "repeated": reply.repeated, **said}))


def _message(body: NewMessage, parts: Parts, by: Caller, key: str | None) -> InboundMessage:
    """Return the message that is meant. Raises NotAllowed for one of another user than the caller's."""
    message = InboundMessage(
        address=body.address,
        message_id=body.message_id or key or uuid4().hex,
        sent_at=body.sent_at or parts.app.clock.now(),
        sender_name=body.sender_name,
        content=body.content,
    )
    if by.user is not None and {message.address.user, message.place.user} != {by.user}:
        raise NotAllowed("the message is another user's")
    return message


async def _check_same(parts: Parts, conversation: ConversationId, input_id: InputId, message: InboundMessage) -> None:
    """Raise RequestReused if what was committed under this id is another message."""
    commit = (await parts.app.store.log.commits_of_inputs(conversation, [input_id])).get(input_id)
    caused = [event for event in commit.events if event.cause == input_id] if commit else []
    if caused and not _same(message, caused):
        raise RequestReused("another message was published with this id before, which stays as it is: take another id")


def _same(message: InboundMessage, caused: Iterable[AnyEvent]) -> bool:
    said = [event.message for event in caused if isinstance(event, MessageAppended)]
    if not isinstance(message.content, Spoken):
        return not said
    return any((one.message_id, one.content) == (message.message_id, message.content) for one in said)
