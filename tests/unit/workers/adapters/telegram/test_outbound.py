"""What is being written, as Telegram's own draft: to people, and nowhere else."""

import json

import httpx
import pytest

from agentbus.contracts.address import Address, Platform
from agentbus.contracts.messages import TextContent
from agentbus.workers.adapters.port import Failed, Outcome, RateLimited, Sent, Unknown
from agentbus.workers.adapters.telegram.outbound import TelegramOutbound, draft_id_of

KEY = "w-key"


async def shown(
    answer: httpx.Response, *, chat: str = "42", thread: str | None = None
) -> tuple[Outcome, list[httpx.Request]]:
    asked: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return answer

    async with httpx.AsyncClient(transport=httpx.MockTransport(handle)) as client:
        outbound = TelegramOutbound("https://telegram.test", "1:secret", client)
        to = Address(platform=Platform.TELEGRAM, chat=chat, user="42", thread=thread)
        return await outbound.show(TextContent(text="**so** far"), to, KEY), asked


async def test_a_draft_is_shown_to_a_person() -> None:
    outcome, (asked,) = await shown(httpx.Response(200, json={"ok": True, "result": True}), thread="7")
    assert outcome == Sent(KEY)
    assert asked.url.path.endswith("/sendMessageDraft")
    assert json.loads(asked.content) == {
        "chat_id": 42,
        "draft_id": draft_id_of(KEY),
        "message_thread_id": "7",
        "text": "<b>so</b> far",
        "parse_mode": "HTML",
    }
    assert 0 < draft_id_of(KEY) < 2**31


async def test_a_group_has_no_drafts_and_is_not_asked() -> None:
    outcome, asked = await shown(httpx.Response(200), chat="-1001")
    assert (outcome, asked) == (Failed("this channel can't show", permanent=True), [])


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (httpx.Response(404, json={"ok": False, "description": "Not Found"}), Failed("Not Found", permanent=True)),
        (httpx.Response(400, json={"description": "no drafts here"}), Failed("no drafts here", permanent=True)),
        (httpx.Response(429, json={"parameters": {"retry_after": 9}}), RateLimited(9.0)),
        (httpx.Response(500), Unknown("the platform answered 500")),
    ],
)
async def test_what_it_says_otherwise_is_told(answer: httpx.Response, expected: Outcome) -> None:
    assert (await shown(answer))[0] == expected
