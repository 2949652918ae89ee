"""What our adapters send to each platform, and what they make of its answers."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import httpx
import pytest

from agentbus.contracts.address import Address
from agentbus.contracts.messages import TextContent
from agentbus.workers.adapters.feishu.outbound import FeishuOutbound
from agentbus.workers.adapters.port import Failed, Outbound, Outcome, RateLimited, Sent, Unknown
from agentbus.workers.adapters.posting import MOST_READ, posted
from tests.platforms.catalog import PLATFORMS
from tests.platforms.discord import FakeDiscord
from tests.platforms.feishu import FakeFeishu
from tests.platforms.line import FakeLine
from tests.platforms.model import API, TOKEN, FakePlatform, said
from tests.platforms.slack import FakeSlack
from tests.platforms.telegram import FakeTelegram
from tests.platforms.webhook import FakeWebhook
from tests.platforms.whatsapp import FakeWhatsApp

KEY = "a" * 26 + "-1-3-1-1"
NOW = datetime(2026, 1, 1, tzinfo=UTC)

each = pytest.mark.parametrize("kind", PLATFORMS, ids=lambda kind: kind.__name__.removeprefix("Fake").lower())


async def sent(platform: FakePlatform, text: str = "hello", **more: Any) -> Outcome:
    """Send one message."""
    async with platform.client() as client:
        content = TextContent(text=text, reply_to=more.pop("reply_to", None))
        return await platform.outbound(client).send(content, platform.address(**more), KEY)


@each
async def test_it_is_sent_and_known_by_the_platforms_id(kind: type[FakePlatform]) -> None:
    platform = kind()
    outcome = await sent(platform)
    assert isinstance(outcome, Sent)
    assert outcome.message_id.endswith("1000")
    assert [(one.chat, one.text) for one in platform.taken] == [("C1", "hello")]


@each
@pytest.mark.parametrize(
    ("fate", "expected"),
    [
        ("busy", RateLimited),
        ("refused", Failed),
        ("error", Unknown),
        ("odd", Unknown),
        ("died", Unknown),
    ],
)
async def test_what_is_certain_is_said_and_no_more(kind: type[FakePlatform], fate: str, expected: type) -> None:
    platform = kind()
    platform.fate.tell([fate])
    outcome = await sent(platform)
    assert isinstance(outcome, expected)
    if isinstance(outcome, RateLimited):
        assert 2.5 <= outcome.after <= 6.0
    if isinstance(outcome, Failed):
        assert outcome.permanent
    assert TOKEN not in repr(outcome)


@each
async def test_where_no_connection_came_about_the_platform_surely_has_nothing(kind: type[FakePlatform]) -> None:
    def unreachable(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    platform = kind()
    async with httpx.AsyncClient(transport=httpx.MockTransport(unreachable)) as client:
        outcome = await platform.outbound(client).send(TextContent(text="hello"), platform.address(), KEY)
    assert isinstance(outcome, Failed)
    assert not outcome.permanent


@each
async def test_what_takes_too_long_is_not_known(kind: type[FakePlatform]) -> None:
    async def silent(_: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    platform = kind()
    async with httpx.AsyncClient(transport=httpx.MockTransport(silent)) as client:
        outbound = platform.outbound(client)
        outcome = await outbound.send(TextContent(text="hello"), platform.address(), KEY, timeout=0.01)
    # Feishu is asked for a token first: without it nothing was sent.
    assert isinstance(outcome, Failed if kind is FakeFeishu else Unknown)


@each
@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{", b'{"ok": 1, "id": [], "result": 7}', b"\xff" * 40])
@pytest.mark.parametrize("status", [200, 301, 404])
async def test_an_answer_that_is_none_of_the_platforms_is_no_crash(
    kind: type[FakePlatform], body: bytes, status: int
) -> None:
    platform = kind()
    transport = httpx.MockTransport(lambda _: httpx.Response(status, content=body))
    async with httpx.AsyncClient(transport=transport) as client:
        outbound = platform.outbound(client)
        outcome = await outbound.send(TextContent(text="hello"), platform.address(), KEY)
        await outbound.typing(platform.address())
        await outbound.reconcile(KEY, platform.address(), NOW)
    accepted = kind in {FakeLine, FakeWebhook} and status == 200  # their status says all
    assert isinstance(outcome, Sent if accepted else Failed | Unknown)


async def test_an_answer_without_end_is_not_read_to_its_end() -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=b"x" * (MOST_READ + 1)))
    async with httpx.AsyncClient(transport=transport) as client:
        outcome = await posted(client, f"{API}/", json={}, timeout=5.0)
    assert isinstance(outcome, Unknown)


@pytest.mark.parametrize("kind", [FakeTelegram, FakeSlack, FakeDiscord, FakeFeishu])
async def test_a_message_of_ours_is_changed_taken_back_and_reacted_to(kind: type[FakePlatform]) -> None:
    platform = kind()
    async with platform.client() as client:
        outbound, to = platform.outbound(client), platform.address()
        if not isinstance(platform, FakeSlack):  # its history is all that it gives here
            assert await outbound.edit("7", TextContent(text="new"), to) == Sent("7")
            assert await outbound.delete("7", to) == Sent("7")
        if kind in {FakeTelegram, FakeDiscord}:
            assert await outbound.react("7", "👍", to) == Sent("7")
            await outbound.typing(to)


async def test_what_each_platform_is_asked_for_where_a_bot_reacts() -> None:
    asked: dict[str, tuple[str, str, Any]] = {}
    for kind in (FakeTelegram, FakeSlack, FakeDiscord, FakeWhatsApp, FakeFeishu, FakeWebhook):
        platform = kind()
        requests: list[httpx.Request] = []

        def well(request: httpx.Request, requests: list[httpx.Request] = requests) -> httpx.Response:
            requests.append(request)
            body = {"ok": True, "code": 0, "tenant_access_token": "t", "expire": 7200, "messages": [{"id": "w"}]}
            return httpx.Response(200, json=body)

        async with httpx.AsyncClient(transport=httpx.MockTransport(well)) as client:
            assert isinstance(await platform.outbound(client).react("7", "❤️", platform.address()), Sent), kind
        one = requests[-1]
        asked[platform.name] = (one.method, unquote(one.url.path), json.loads(one.content or b"{}"))
    assert asked["telegram"][2]["reaction"] == [{"type": "emoji", "emoji": "❤"}]
    assert asked["slack"] == ("POST", "/reactions.add", {"channel": "C1", "timestamp": "7", "name": "heart"})
    assert asked["discord"][:2] == ("PUT", "/channels/C1/messages/7/reactions/❤️/@me")
    assert asked["whatsapp"][2]["reaction"] == {"message_id": "7", "emoji": "❤️"}
    assert asked["feishu"][2] == {"reaction_type": {"emoji_type": "HEART"}}
    assert (asked["webhook"][2]["type"], asked["webhook"][2]["text"]) == ("reaction", "❤️")


async def test_telegram_in_a_topic_in_answer_to_somebody() -> None:
    platform = FakeTelegram()
    await sent(platform, "**bold**", thread="5", reply_to="6")
    assert said(platform.requests[0]) == {
        "chat_id": "C1",
        "message_thread_id": "5",
        "reply_parameters": {"message_id": "6", "allow_sending_without_reply": True},
        "text": "<b>bold</b>",
        "parse_mode": "HTML",
    }


async def test_telegram_gets_the_text_plain_if_it_can_not_read_the_markup() -> None:
    platform = FakeTelegram(unreadable=True)
    assert await sent(platform, "**bold**") == Sent("1000")
    assert platform.texts == ["**bold**"]


async def test_slack_in_a_thread_is_found_again_by_its_metadata_page_by_page() -> None:
    platform = FakeSlack(page=2)
    for _ in range(5):
        await sent(platform, "hello", thread="9.9")
    platform.taken.reverse()
    async with platform.client() as client:
        outbound = platform.outbound(client)
        found = await outbound.reconcile(KEY, platform.address(), NOW)
        missing = await outbound.reconcile("another", platform.address(), NOW)
    assert isinstance(found, Sent)
    assert missing == Failed("it is not in the channel's history", permanent=False)
    assert said(platform.requests[0])["thread_ts"] == "9.9"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"ok": False, "error": "missing_scope"}, Unknown),
        ({"ok": True, "messages": ["odd", {"metadata": 7}]}, Failed),
    ],
)
async def test_what_slack_does_not_show_is_not_known(answer: dict[str, Any], expected: type) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=answer))
    async with httpx.AsyncClient(transport=transport) as client:
        platform = FakeSlack()
        assert isinstance(await platform.outbound(client).reconcile(KEY, platform.address(), NOW), expected)


async def test_discord_in_a_thread_and_twice_under_one_nonce() -> None:
    platform = FakeDiscord()
    first = await sent(platform, "@everyone", thread="T1")
    assert await sent(platform, "@everyone", thread="T1") == first
    assert [one.chat for one in platform.taken] == ["T1"]


async def test_discord_says_whether_all_of_the_account_is_too_much() -> None:
    platform = FakeDiscord(busy_for=2.5)
    platform.fate.tell(["busy"])
    assert await sent(platform) == RateLimited(2.5, account=True)


async def test_line_answers_a_repeat_with_the_first_ones_id() -> None:
    platform = FakeLine()
    platform.fate.tell(["died"])
    assert isinstance(await sent(platform), Unknown)
    assert await sent(platform) == Sent("1000")
    assert len(platform.taken) == 1


async def test_line_whose_monthly_messages_are_spent_takes_no_more() -> None:
    answer = httpx.Response(429, json={"message": "You have reached your monthly limit."})
    async with httpx.AsyncClient(transport=httpx.MockTransport(lambda _: answer)) as client:
        platform = FakeLine()
        outcome = await platform.outbound(client).send(TextContent(text="hello"), platform.address(), KEY)
    assert outcome == Failed("You have reached your monthly limit.", permanent=True)


async def test_feishu_asks_for_a_token_once_and_again_when_it_is_over() -> None:
    platform = FakeFeishu()
    async with platform.client() as client:
        outbound: Outbound = FeishuOutbound(API, "cli_1", TOKEN, client)
        to: Address = platform.address()
        assert await outbound.send(TextContent(text="one"), to, KEY) == Sent("1000")
        platform.token = "revoked"  # noqa: S105 - of no app
        outcome = await outbound.send(TextContent(text="two"), to, "another")
        assert isinstance(outcome, Failed)
        assert not outcome.permanent
        assert await outbound.send(TextContent(text="two"), to, "another") == Sent("1001")
    assert sum(request.url.path.endswith("/internal") for request in platform.requests) == 2


async def test_whatsapp_says_the_key_along_and_how_long_one_person_has_to_wait() -> None:
    platform = FakeWhatsApp()
    platform.fate.tell(["busy", "ok"])
    assert await sent(platform) == RateLimited(6.0)
    assert await sent(platform, reply_to="wamid.1") == Sent("wamid.1000")
    body = said(platform.requests[-1])
    assert (body["biz_opaque_callback_data"], body["context"]) == (KEY, {"message_id": "wamid.1"})


async def test_a_webhooks_request_is_signed_and_says_where_it_goes() -> None:
    platform = FakeWebhook()
    await sent(platform, thread="T1")
    request = platform.requests[0]
    assert request.headers["webhook-signature"].startswith("v1,")
    assert said(request) == {
        "type": "reply",
        "message_id": KEY,
        "account": "default",
        "chat": "C1",
        "thread": "T1",
        "user": "U1",
        "text": "hello",
    }
