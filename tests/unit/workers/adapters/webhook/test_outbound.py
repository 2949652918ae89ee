"""What a webhook is told besides replies: each request has an id of its own, the same whenever it is posted again."""

import base64
import json

import httpx

from agentbus.contracts.address import Address, Platform
from agentbus.contracts.messages import TextContent
from agentbus.workers.adapters.port import Sent
from agentbus.workers.adapters.webhook.outbound import WebhookOutbound


async def test_a_message_is_edited_deleted_and_reacted_to() -> None:
    asked: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200)

    async with httpx.AsyncClient(transport=httpx.MockTransport(handle)) as client:
        outbound = WebhookOutbound("https://shop.test/", base64.b64decode("c2VjcmV0LXNlY3JldC1zZWNyZXQ="), client)
        to = Address(platform=Platform("webhook"), chat="room", user="ann")
        for _ in range(2):
            assert await outbound.edit("m1", TextContent(text="new"), to) == Sent("m1")
            assert await outbound.delete("m1", to) == Sent("m1")
            assert await outbound.react("m1", "👍", to) == Sent("m1")
    said = [json.loads(request.content) for request in asked]
    assert [(one["type"], one["message_id"], one.get("text")) for one in said[:3]] == [
        ("edit", "m1", "new"),
        ("delete", "m1", None),
        ("reaction", "m1", "👍"),
    ]
    ids = [request.headers["webhook-id"] for request in asked]
    assert ids[:3] == ids[3:]
    assert len(set(ids)) == 3
