"""What Feishu is asked for besides messages."""

import json

import httpx

from agentbus.contracts.address import Address, Platform
from agentbus.workers.adapters.feishu.outbound import FeishuOutbound
from agentbus.workers.adapters.port import Sent


async def test_a_reaction_is_named_as_feishu_names_it() -> None:
    asked: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/internal"):
            return httpx.Response(200, json={"code": 0, "tenant_access_token": "t", "expire": 7200})
        asked.append(request)
        return httpx.Response(200, json={"code": 0, "data": {"reaction_id": "r1"}})

    async with httpx.AsyncClient(transport=httpx.MockTransport(handle)) as client:
        outbound = FeishuOutbound("https://feishu.test", "cli_1", "secret", client)
        to = Address(platform=Platform.FEISHU, chat="oc_1", user="ou_1")
        assert await outbound.react("om_1", "THUMBSUP", to) == Sent("om_1")
    assert asked[0].url.path == "/open-apis/im/v1/messages/om_1/reactions"
    assert json.loads(asked[0].content) == {"reaction_type": {"emoji_type": "THUMBSUP"}}
