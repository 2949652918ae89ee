"""The dashboard in a real browser, over RabbitMQ, MongoDB, two session workers and the server of the HTTP API.

As a person would click: `make e2e` runs it by itself.
"""

import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import httpx
from playwright.async_api import BrowserContext, Page, expect

from agentbus.composition.app import App, installed
from agentbus.composition.running import embedded
from agentbus.composition.workers import make_router, make_session_worker
from agentbus.contracts.urls import LOOPBACK
from agentbus.http.hosting import make_api_worker
from agentbus.operations.api_keys import Role, create_key
from agentbus.settings import Settings, load_settings
from tests.harness.api import a_message
from tests.harness.browser import MILLISECONDS, chromium
from tests.harness.dashboard import Filled, fill, looked_at

NARROW: Final = 375
NOT_LOOKED_AT: Final = re.compile(r"/sign-in|/parked/\w+/body")
AXE: Final = (files("axe_playwright_python") / "axe.min.js").read_text("utf-8")
SEEN_WITHIN: Final = 1.0
"""Seconds in which a page shows what was published by HTTP, without being loaded anew."""

_TRIES: Final = 5
EXPECTED: Final = "the server responded with a status of 4"
"""What a browser says of a page that is answered with an error, where a story is about one."""


@dataclass
class Desk:
    """Somebody at a browser, and what they look at."""

    app: App
    place: str
    key: str
    filled: Filled
    context: BrowserContext
    page: Page
    problems: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    """From the publishing of messages until a page showed them."""

    async def go(self, path: str) -> None:
        """Go to a page, and see that it is one."""
        answer = await self.page.goto(f"{self.place}{path}")
        assert answer is not None
        assert answer.ok, path

    async def said(self, text: str) -> None:
        """See that a page says what was done."""
        await expect(self.page.get_by_role("status").filter(has_text=text)).to_be_visible(timeout=MILLISECONDS)


async def somebody_signs_in(desk: Desk) -> None:
    page = desk.page
    await page.goto(f"{desk.place}/parked")
    await expect(page).to_have_url(re.compile("/sign-in"))
    await page.keyboard.type("ab_no_key")  # the field has the focus
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_contain_text("is no key")
    await axe(desk)
    await page.get_by_label("Key of the HTTP API").fill(desk.key)
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(f"{desk.place}/parked")  # where they were going
    assert desk.key not in await page.content()
    assert [one["name"] for one in await desk.context.cookies() if not one["httpOnly"]] == []
    desk.problems[:] = [one for one in desk.problems if EXPECTED not in one]


async def every_page_is_fit_for_everybody(desk: Desk) -> None:
    for path in looked_at(desk.filled):
        if NOT_LOOKED_AT.fullmatch(path):
            continue
        await desk.page.set_viewport_size({"width": 1200, "height": 800})
        await desk.page.emulate_media(color_scheme="light")
        await desk.go(path)
        if "?" not in path or "?show" in path:  # others are a page again, with less on it
            await axe(desk)
        await desk.page.emulate_media(color_scheme="dark")
        await desk.page.set_viewport_size({"width": NARROW, "height": 700})
        assert await desk.page.evaluate("document.scrollingElement.scrollWidth") <= NARROW, path
        if "?" not in path:  # its other views have the same colours
            await axe(desk, "color-contrast")
    await desk.page.emulate_media(color_scheme="light")
    await desk.page.set_viewport_size({"width": 1200, "height": 800})


async def what_is_published_is_seen_without_reloading(desk: Desk) -> None:
    await desk.go("/sessions")
    await desk.page.evaluate("window.same = true")
    await expect(desk.page.get_by_role("table").get_by_text("lobby")).to_have_count(0)
    async with httpx.AsyncClient(base_url=desk.place, headers={"Authorization": f"Bearer {desk.key}"}) as client:
        for number in range(1, _TRIES + 1):
            begun = time.monotonic()
            answer = await client.post("/v1/messages", json=a_message("I am new here"))
            assert answer.status_code == 200, answer.text
            row = desk.page.get_by_role("row").filter(has_text="lobby")
            await expect(row.get_by_role("cell").nth(4)).to_have_text(str(number))
            desk.seconds.append(time.monotonic() - begun)
    assert await desk.page.evaluate("window.same")
    await row.get_by_role("link").click()
    await expect(desk.page.get_by_role("list", name="Messages").get_by_role("listitem").first).to_contain_text(
        "I am new here"
    )
    # What the page needs, with somebody else's tests on the same processors: they delay some of the tries, not all.
    print("seen after", ", ".join(f"{one * 1000:.0f} ms" for one in desk.seconds))  # noqa: T201 - for who measures
    assert min(desk.seconds) < SEEN_WITHIN


async def a_partition_is_handed_back(desk: Desk) -> None:
    page = desk.page
    await desk.go("/workers")
    await page.get_by_role("list", name="Partitions").get_by_role("link").first.click()
    owner = page.get_by_role("definition").first
    before = await owner.inner_text()
    await expect(page.get_by_role("button", name="Hand back", exact=True)).to_be_hidden()
    await page.get_by_text("Hand back…").press("Enter")
    await axe(desk)
    [other] = await page.get_by_role("combobox", name="To").get_by_role("option").all_inner_texts()
    await page.get_by_role("button", name="Hand back", exact=True).click()
    await desk.said(f"Partition 0 goes from {before} to {other}.")
    await page.evaluate("window.same = true")
    await expect(owner).to_have_text(other)
    await expect(page.get_by_text("on its way")).to_have_count(0)
    assert await page.evaluate("window.same")
    await desk.go("/workers")
    marked = page.get_by_role("list", name="Partitions").get_by_role("listitem").first
    await expect(marked).to_have_class("moved")


async def a_bad_one_is_mended_and_replayed(desk: Desk) -> None:
    page = desk.page
    await desk.go("/parked")
    await page.get_by_role("link", name=desk.filled.mendable.parked_id).click()
    text = page.get_by_label("What is published in its place")
    await page.get_by_role("button", name="Publish as mended").click()
    await expect(page.get_by_role("alert")).to_contain_text("chat", timeout=MILLISECONDS)
    input_ = json.loads(await text.input_value())
    input_["data"]["address"]["chat"] = "garden"
    await text.fill(json.dumps(input_, indent=1))
    await page.get_by_role("button", name="Publish as mended").click()
    await desk.said("was mended and published again")
    await desk.go("/sessions?chat=garden")
    await expect(page.get_by_role("table").get_by_text("garden")).to_be_visible(timeout=MILLISECONDS)
    desk.problems[:] = [one for one in desk.problems if EXPECTED not in one]


async def others_are_discarded_once_that_is_meant(desk: Desk) -> None:
    page = desk.page
    await desk.go(f"/parked/{desk.filled.bad.parked_id}")
    await expect(page.get_by_role("button", name="Discard", exact=True)).to_be_hidden()
    await page.get_by_text("Discard…").press("Enter")
    await axe(desk)
    await page.get_by_role("button", name="Discard", exact=True).click()
    await desk.said("is discarded")
    await page.get_by_role("link", name="discarded", exact=True).click()
    await page.get_by_role("checkbox").check()
    await page.get_by_role("button", name="Replay…").click()
    await expect(page.get_by_role("heading", name="Replay 1 input?")).to_be_visible()
    await axe(desk)
    await page.get_by_role("button", name="Replay 1").click()
    await desk.said("1 of 1 published again.")


async def what_waits_for_somebody_is_decided(desk: Desk) -> None:
    page = desk.page
    await desk.go("/conflicts")
    await page.get_by_role("button", name="Take what is offered").click()
    await desk.said("/data/language of")
    await desk.go("/replies")
    await page.get_by_text("Decide…").click()
    await page.get_by_label("Why, for those who come later").fill("Bob has it")
    await axe(desk)
    await page.get_by_role("button", name="It was sent").click()
    await desk.said("counts as sent")
    await desk.go("/")
    await expect(page.get_by_role("link", name="0", exact=True)).to_have_count(2, timeout=MILLISECONDS)


async def what_was_put_away_comes_back(desk: Desk) -> None:
    await desk.go("/archive")
    await desk.page.get_by_text("Restore…").click()
    await desk.page.get_by_role("button", name="Restore", exact=True).click()
    await desk.said("is back, with its history")
    await expect(desk.page.get_by_role("list", name="Messages")).to_contain_text("Hello, ")


async def a_backup_is_made_and_tried(desk: Desk) -> None:
    page = desk.page
    await desk.go("/backups")
    await page.get_by_text("Back up now…").press("Enter")
    await page.get_by_label("What for").fill("by hand")
    await page.get_by_role("button", name="Back up now", exact=True).click()
    await desk.said("A backup is made.")
    latest = page.get_by_role("region", name="Jobs").get_by_role("row").nth(1)
    await expect(latest).to_contain_text("done")
    await axe(desk)
    await (
        page.get_by_role("region", name="Backups")
        .get_by_role("row")
        .filter(has_text="by hand")
        .get_by_role("link")
        .first.click()
    )
    for words in ("Verify…", "Restore…"):
        await page.get_by_text(words).press("Enter")
    await axe(desk)
    await page.get_by_role("button", name="Look what it would do").click()
    await desk.said("would do")
    await expect(latest).to_contain_text("same")
    await expect(latest).to_contain_text("done")


async def it_is_seen_as_it_was(desk: Desk) -> None:
    page = desk.page
    await desk.go(f"/sessions/{desk.filled.session}?show=data")
    await expect(page.get_by_text("4712")).to_be_visible()
    await page.get_by_label("as of version").fill("1")
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("As it was at version 1")).to_be_visible()
    await expect(page.get_by_text("4712")).to_have_count(0)


async def it_looks_as_somebody_chooses_and_by_keyboard(desk: Desk) -> None:
    page = desk.page
    await desk.go("/")
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="To the content")).to_be_focused()
    button = page.get_by_role("button", name="Theme")
    light = await colour(page)
    await button.press("Enter")
    await button.press("Enter")
    await expect(button).to_have_text("Theme: dark")
    assert await colour(page) != light
    await page.reload()
    assert await colour(page) != light
    await button.press("Enter")
    await expect(button).to_have_text("Theme: system")
    assert await colour(page) == light


async def they_sign_out(desk: Desk) -> None:
    await desk.page.get_by_role("button", name="Sign out").click()
    await desk.said("signed out")
    await desk.page.go_back()
    await expect(desk.page.get_by_label("Key of the HTTP API")).to_be_visible(timeout=MILLISECONDS)


STORIES: Final[tuple[Callable[[Desk], Awaitable[None]], ...]] = (
    somebody_signs_in,
    every_page_is_fit_for_everybody,
    what_is_published_is_seen_without_reloading,
    a_partition_is_handed_back,
    a_bad_one_is_mended_and_replayed,
    others_are_discarded_once_that_is_meant,
    what_waits_for_somebody_is_decided,
    what_was_put_away_comes_back,
    a_backup_is_made_and_tried,
    it_is_seen_as_it_was,
    it_looks_as_somebody_chooses_and_by_keyboard,
    they_sign_out,
)


async def test_somebody_looks_after_an_installation_in_a_browser(
    amqp_url: str, used_mongo_url: str, tmp_path: Path
) -> None:
    async with a_desk(tmp_path, amqp_url=amqp_url, store_url=used_mongo_url) as desk:
        for story in STORIES:
            await story(desk)
            assert desk.problems == [], story.__name__


async def colour(page: Page) -> Any:
    return await page.evaluate("getComputedStyle(document.documentElement).backgroundColor")


async def axe(desk: Desk, *rules: str) -> None:
    """Look for what keeps people from using the page, by all rules or some."""
    if not await desk.page.evaluate("'axe' in window"):
        await desk.page.evaluate(AXE)
    chosen = {"runOnly": {"type": "rule", "values": rules}} if rules else {}
    where = "'main'" if rules else "document"  # the frame is the same around every page
    found = await desk.page.evaluate(f"options => axe.run({where}, options)", {**chosen, "resultTypes": ["violations"]})
    wrong = [(one["id"], one["nodes"][0]["html"][:200]) for one in found["violations"]]
    assert wrong == [], desk.page.url


@asynccontextmanager
async def at_work(settings: Settings) -> AsyncIterator[App]:
    """Run two session workers and a router over the broker and store that the settings name."""
    async with AsyncExitStack() as stack:
        for _ in range(2):
            app = await stack.enter_async_context(installed(settings))
            worker = make_session_worker(app)
            stack.push_async_callback(worker.close)
            await worker.start()
        router = make_router(app)
        stack.push_async_callback(router.close)
        await router.start()
        yield app


@asynccontextmanager
async def a_desk(
    folder: Path, *, amqp_url: str = "memory://", store_url: str = "memory://", **told: str
) -> AsyncIterator[Desk]:
    settings = load_settings(
        amqp_url=amqp_url,
        store_url=store_url,
        partitions=4,
        api_port=0,
        api_rate=10_000.0,
        archive_url=f"file://{folder}/archive",
        backup_url=f"file://{folder}/backups",
    )
    running = embedded if amqp_url == "memory://" else at_work
    async with running(settings) as app:
        filled = await fill(app, **told)
        _, key = await create_key(app.store, app.clock, "Ann", list(Role))
        worker = make_api_worker(app)
        await worker.start()
        try:
            async with chromium() as browser:
                context = await browser.new_context(viewport={"width": 1200, "height": 800}, color_scheme="light")
                context.set_default_timeout(MILLISECONDS)
                expect.set_options(timeout=MILLISECONDS)
                place = f"http://{LOOPBACK}:{worker.port}"
                desk = Desk(app, place, key, filled, context, await context.new_page())
                context.on("console", lambda one: desk.problems.append(one.text) if one.type == "error" else None)
                context.on("weberror", lambda one: desk.problems.append(str(one.error)))
                yield desk
        finally:
            await worker.close()
