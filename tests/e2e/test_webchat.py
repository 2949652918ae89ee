"""Web chat in a real browser: Chromium, one for all that is tried, each in a profile of its own."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from playwright.async_api import Browser, BrowserContext, Locator, Page, expect
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse
from starlette.routing import Route

from agentbus.client import AgentBus
from agentbus.composition.probes import serving
from agentbus.composition.running import embedded
from agentbus.composition.workers import make_gateway
from agentbus.contracts.urls import LOOPBACK
from agentbus.received import ReceivedMessage
from agentbus.settings import load_settings
from agentbus.workers.adapters.webchat import visitor_token
from tests.chaos.system.proxy import Proxy
from tests.docs.channels import PAGE
from tests.harness.browser import MILLISECONDS, chromium

SECRET: Final = "0123456789abcdef0123456789abcdef"  # noqa: S105 - nobody's
NARROW: Final = 375
CONNECTIONS: Final = re.compile(r"net::ERR_|^WebSocket connection to ")


@dataclass
class Street:
    """A gateway with a bot behind it, a site on another origin, and a browser."""

    browser: Browser
    gateway: str
    site: str
    cut: Callable[[], None]
    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    """Set: the bot writes the rest of its long answer."""
    problems: list[str] = field(default_factory=list)
    """What browsers complain of."""

    @asynccontextmanager
    async def visit(self, **settings: Any) -> AsyncIterator[BrowserContext]:
        """Give a new profile of the browser: a visitor nobody knows."""
        context = await self.browser.new_context(**settings)
        context.set_default_timeout(MILLISECONDS)
        context.on("console", lambda one: self.problems.append(one.text) if one.type == "error" else None)
        context.on("weberror", lambda one: self.problems.append(str(one.error)))
        try:
            yield context
        finally:
            await context.close()


def said(page: Page) -> Locator:
    return page.get_by_role("log", name="Messages").get_by_role("listitem")


async def texts(page: Page) -> list[str]:
    """Return what stands in a window, without what is only read out."""
    return await said(page).locator("p").all_inner_texts()


async def say(page: Page, text: str) -> None:
    """Write, as people do."""
    field = page.get_by_role("textbox", name="Your message")
    await field.click()
    await page.keyboard.type(text)
    await page.keyboard.press("Enter")


async def until(page: Page, count: int) -> list[str]:
    """Return what stands in a window once it is so many messages, all of them from the log."""
    await expect(said(page)).to_have_count(count, timeout=MILLISECONDS)
    await expect(page.locator(".pending")).to_have_count(0, timeout=MILLISECONDS)
    return await texts(page)


async def a_message_and_a_reply_by_keyboard_on_a_narrow_screen(street: Street) -> None:
    async with street.visit(viewport={"width": NARROW, "height": 700}, color_scheme="dark") as visitor:
        page = await visitor.new_page()
        await page.goto(f"{street.gateway}/channels/webchat/shop")
        await say(page, "hello <b>there</b>")
        assert await until(page, 2) == ["hello <b>there</b>", "You said hello <b>there</b>, it is bold"]
        assert await said(page).locator("strong").all_inner_texts() == ["bold"]
        assert await said(page).locator("b").count() == 0
        width = await page.evaluate("document.scrollingElement.scrollWidth")
        assert width <= NARROW
        dark = await background(page)
        await page.emulate_media(color_scheme="light")
        assert await background(page) != dark


async def background(page: Page) -> Any:
    return await page.locator("section").evaluate("one => getComputedStyle(one).backgroundColor")


async def cut_off_in_the_middle_of_an_answer(street: Street) -> None:
    street.go_on.clear()
    async with street.visit() as visitor:
        page = await visitor.new_page()
        await page.goto(f"{street.gateway}/channels/webchat/shop")
        await say(page, "a long one")
        await until(page, 3)
        await expect(page.locator(".writing")).to_have_text("The answer", timeout=MILLISECONDS)
        street.cut()
        street.go_on.set()
        whole = ["a long one", "part 0", "part 1", "The answer is 42", "part 2"]
        assert await until(page, len(whole)) == whole
        await expect(page.locator(".writing")).to_have_count(0, timeout=MILLISECONDS)
        await page.reload()
        assert await until(page, len(whole)) == whole


async def two_tabs_are_one_visitor(street: Street) -> None:
    async with street.visit() as visitor:
        one = await visitor.new_page()
        await one.goto(f"{street.gateway}/channels/webchat/shop")
        await say(one, "first")
        await until(one, 2)
        other = await visitor.new_page()
        await other.goto(f"{street.gateway}/channels/webchat/shop")
        await until(other, 2)
        await say(other, "second")
        for page in (one, other):
            assert [text.split(",")[0] for text in await until(page, 4)] == [
                "first",
                "You said first",
                "second",
                "You said second",
            ]


async def on_a_strict_page_of_another_origin(street: Street) -> None:
    """With the snippet of docs/channels.md, and a token of that site's."""
    async with street.visit() as visitor:
        page = await visitor.new_page()
        await page.goto(street.site)
        opener = page.get_by_role("button", name="Ask us")
        await opener.focus()
        await page.keyboard.press("Enter")
        await say(page, "from the shop")
        assert (await until(page, 2))[1].endswith("Ann")
        await page.keyboard.press("Escape")
        await expect(said(page)).to_have_count(0)  # nothing that is hidden is read out
        await expect(opener).to_be_focused()


async def without_websockets_by_a_stream(street: Street) -> None:
    async with street.visit() as visitor:
        page = await visitor.new_page()
        await page.add_init_script("delete window.WebSocket")
        await page.goto(f"{street.gateway}/channels/webchat/shop")
        await say(page, "slowly")
        await until(page, 2)
        street.cut()
        await say(page, "again")
        assert [text.split(",")[0] for text in await until(page, 4)] == [
            "slowly",
            "You said slowly",
            "again",
            "You said again",
        ]


STORIES: Final[tuple[Callable[[Street], Awaitable[None]], ...]] = (
    a_message_and_a_reply_by_keyboard_on_a_narrow_screen,
    cut_off_in_the_middle_of_an_answer,
    two_tabs_are_one_visitor,
    on_a_strict_page_of_another_origin,
    without_websockets_by_a_stream,
)


async def test_people_talk_to_a_bot_in_a_browser() -> None:
    async with a_street() as street:
        for story in STORIES:
            await story(street)
            # Browsers complain of connections that are cut, or don't come about; of nothing else.
            assert [one for one in street.problems if not CONNECTIONS.search(one)] == []


@asynccontextmanager
async def a_street() -> AsyncIterator[Street]:
    async with AsyncExitStack() as stack:
        gateways: list[str] = []
        served = Starlette(routes=[Route("/", lambda _: strict_page(*gateways)), Route("/chat-token", _token)])
        site = await stack.enter_async_context(serving(served, 0))
        account = {"secret": SECRET, "anonymous": True, "title": "The shop", "origins": [f"http://{LOOPBACK}:{site}"]}
        settings = load_settings(
            amqp_url="memory://",
            store_url="memory://",
            partitions=4,
            channels={"webchat": {"shop": account}},
            gateway_port=0,
        )
        app = await stack.enter_async_context(embedded(settings))
        worker = make_gateway(app)
        stack.push_async_callback(worker.close)
        await worker.start()
        assert worker.port
        proxy = await stack.enter_async_context(Proxy((LOOPBACK, worker.port)))
        client = AgentBus(app.bus)
        stack.push_async_callback(client.close)
        browser = await stack.enter_async_context(chromium())
        gateway = f"http://{LOOPBACK}:{proxy.port}"
        street = Street(browser, gateway, f"http://{LOOPBACK}:{site}", proxy.cut)
        gateways.append(gateway)

        @client.on_message("webchat")
        async def answer(message: ReceivedMessage) -> None:
            if message.text != "a long one":
                await message.reply(f"You said {message.text}, it is **bold**{message.message.author or ''}")
                return
            for number in range(2):
                await message.reply(f"part {number}")
            async with message.writing() as reply:
                await reply.write("The answer ")
                await street.go_on.wait()
                await reply.write("is **42**")
            await message.reply("part 2")

        await client.start()
        yield street


def strict_page(gateway: str) -> HTMLResponse:
    """Return the page of a site that lets in nothing but the gateway."""
    page = f"<!doctype html><html lang=en><title>Shop</title>{snippet(gateway)}<p>Our shop</p></html>"
    sockets = gateway.replace("http", "ws")
    policy = f"default-src 'none'; script-src {gateway}; connect-src 'self' {gateway} {sockets}; "
    policy += "require-trusted-types-for 'script'"
    return HTMLResponse(page, headers={"Content-Security-Policy": policy})


def snippet(gateway: str) -> str:
    """Return what docs/channels.md says to put on a page, for this gateway."""
    [found] = re.findall(r"```html\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    return str(found).replace("https://chat.example", gateway)


async def _token(_: Request) -> JSONResponse:
    return JSONResponse({"token": visitor_token(SECRET, account="shop", visitor="customer-4711", name=" Ann")})
