"""The one door of the dashboard: who gets in, what is answered when something is wrong, what no page ever has in it."""

import asyncio
from typing import Any, Final

import pytest
import structlog

from agentbus.contracts.errors import BrokerUnavailable, StoreUnavailable
from agentbus.contracts.parked import ParkedStatus
from agentbus.http.dashboard import app as dashboard_app
from agentbus.http.dashboard.app import HEADERS
from agentbus.http.dashboard.screens import PAGES, sessions
from agentbus.operations import overview as operations
from agentbus.operations.api_keys import Role
from tests.harness.builders import a_parked
from tests.harness.dashboard import FROM_HERE, a_desk, fill, looked_at

ACTIONS: Final = [page for page in PAGES if page.method == "POST" and page.role is not None]
THERE: Final = {"backup": "latest", "job": "0" * 32}
ELSEWHERE: Final = {
    "another site": {"sec-fetch-site": "cross-site", "origin": "https://evil.example"},
    "a site beside it": {"sec-fetch-site": "same-site"},
    "typed in": {"sec-fetch-site": "none"},
    "another origin": {"origin": "https://evil.example"},
    "no origin": {"origin": "null"},
    "no url": {"origin": "http://[::1"},
    "nobody says": {},
}


async def test_nothing_is_shown_or_done_before_somebody_has_signed_in() -> None:
    async with a_desk() as desk:
        filled = await fill(desk.app)
        for path in looked_at(filled):
            desk.browser.cookies.clear()
            answer = await desk.get(path)
            if path == "/sign-in":
                continue
            assert (answer.status_code, answer.text) == (303, ""), path
            assert answer.headers["location"].startswith("/sign-in"), path
        csrf = await desk.csrf()
        for page in ACTIONS:
            path = page.path.format(
                parked=filled.bad.parked_id, session=filled.session, rule="quiet", partition=0, **THERE
            )
            answer = await desk.browser.post(path, data={"csrf": csrf}, headers=FROM_HERE)
            assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in"), path
        assert await desk.app.store.parked.get(filled.bad.parked_id) == filled.bad
        live = await desk.get("/", **{"HX-Request": "true"})
        assert (live.status_code, live.headers["hx-redirect"]) == (401, "/sign-in")


async def test_what_people_wrote_is_shown_and_does_nothing() -> None:
    async with a_desk() as desk:
        filled = await fill(desk.app)
        shown = 0
        for path in looked_at(filled):
            if path in {"/sign-in", f"/parked/{filled.mendable.parked_id}/body"}:
                continue
            answer = await desk.get(path)
            assert answer.status_code == 200, path
            for harm in ("<img src=x", "<b>", "{{7", "\u202e", "\u2066", "\x07", "\u200b", "<script>alert", ">None<"):
                assert harm not in answer.text.replace("{{7*7}}", ""), (path, harm)
            assert desk.key not in answer.text, path
            shown += "⟦202E⟧gnp.exe" in answer.text
        assert shown >= 5  # the conversation, events, data, parked, one that is parked


async def test_an_empty_installation_has_pages_that_say_so() -> None:
    async with a_desk() as desk:
        for page in PAGES:
            if page.method != "GET" or "{" in page.path or page.path in {"/live", "/sign-in"}:
                continue
            answer = await desk.get(page.path)
            assert answer.status_code == 200, page.path
            assert "agentbus " in answer.text, page.path
            assert ">None<" not in answer.text, page.path
        missing = await desk.get("/sessions/aaaaaaaaaaaaaaaaaaaaaaaaaa.1")
        assert (missing.status_code, "no session" in missing.text) == (404, True)
        for path in ("/nope", "/sessions/nope", "/parked/nope", "/static/nope", "/static/..%2fapp.py"):
            assert (await desk.get(path)).status_code == 404, path


async def test_every_answer_has_the_headers_that_keep_a_page_to_itself() -> None:
    async with a_desk() as desk:
        for path in (
            "/",
            "/sign-in",
            "/nope",
            "/static/dashboard.css",
            "/static/nope",
            "/parked/x/body",
            "/sessions/x",
        ):
            answer = await desk.get(path)
            for name, value in HEADERS.items():
                assert answer.headers[name] == value, (path, name)
        policy = HEADERS["Content-Security-Policy"]
        assert "unsafe" not in policy
        assert policy.startswith("default-src 'none'")
        page = (await desk.get("/")).text
        for inline in ("<script>", "<style", " style=", " onclick=", "javascript:"):
            assert inline not in page


async def test_a_form_of_another_page_does_nothing() -> None:
    async with a_desk() as desk:
        parked = a_parked()
        await desk.app.store.parked.put(parked)
        path, csrf = f"/parked/{parked.parked_id}/discard", await desk.csrf()
        for where, headers in ELSEWHERE.items():
            answer = await desk.browser.post(path, data={"csrf": csrf}, headers=headers)
            assert answer.status_code == 403, where
        for form in ({}, {"csrf": ""}, {"csrf": "0" * 64}, {"csrf": "é"}, {"csrf": csrf[:-1]}):
            answer = await desk.browser.post(path, data=form, headers=FROM_HERE)
            assert answer.status_code == (403 if form else 422), form
        for body, kind in ((b"csrf=%ff", None), (b"{}", "application/json"), (b"a=" * 2000, None)):
            headers = FROM_HERE | {"content-type": kind or "application/x-www-form-urlencoded"}
            answer = await desk.browser.post(path, content=body, headers=headers)
            assert answer.status_code in {403, 422}, body
        large = await desk.browser.post(path, data={"csrf": csrf, "x": "x" * 2**21}, headers=FROM_HERE)
        assert large.status_code == 413
        desk.browser.cookies.clear()
        stranger = await desk.browser.post("/sign-in", data={"csrf": csrf, "key": "x" * 9000}, headers=FROM_HERE)
        assert stranger.status_code == 413
        await desk.post("/sign-in", key=desk.key)
        csrf = await desk.csrf()
        assert await desk.app.store.parked.get(parked.parked_id) == parked
        same = {"origin": "http://127.0.0.1"}  # a browser that says no more than its origin
        assert (await desk.browser.post(path, data={"csrf": csrf}, headers=same)).status_code == 303


async def test_another_browsers_token_is_of_no_use() -> None:
    async with a_desk() as one, a_desk(app=one.app) as other:
        parked = a_parked()
        await one.app.store.parked.put(parked)
        answer = await one.browser.post(
            f"/parked/{parked.parked_id}/discard", data={"csrf": await other.csrf()}, headers=FROM_HERE
        )
        assert answer.status_code == 403


async def test_who_may_only_read_sees_no_action_and_can_do_none() -> None:
    async with a_desk({Role.READ}) as desk:
        filled = await fill(desk.app)
        for path in looked_at(filled):
            text = (await desk.get(path)).text
            forms = text.count('method="post"') - text.count('action="/sign-out"')
            assert forms == (1 if "/parked/chosen" in text else 0), path
            assert "<button name=" not in text, path
            assert "danger" not in text, path
        for page in ACTIONS:
            path = page.path.format(
                parked=filled.bad.parked_id, session=filled.session, rule="quiet", partition=0, **THERE
            )
            answer = await desk.post(path, what="discard", id=filled.bad.parked_id)
            assert answer.status_code == 403, path
            assert "has not the role" in answer.text, path
        kept = await desk.app.store.parked.get(filled.bad.parked_id)
        assert kept is not None
        assert kept.status is ParkedStatus.PARKED


class _Down:
    """What stands in the place of a part of a store that is away."""

    def __getattr__(self, name: str) -> Any:
        async def call(*_: object, **__: object) -> None:
            raise StoreUnavailable("mongodb://user:hunter2@db.example is gone")

        return call


async def test_a_store_that_is_away_is_said_and_nothing_of_it() -> None:
    async with a_desk() as desk:
        filled = await fill(desk.app)
        store = desk.app.store
        heads, parked, records = store.heads, store.parked, store.records
        for name, kept in (("heads", heads), ("parked", parked), ("records", records)):
            setattr(store, name, _Down())
            for path in looked_at(filled):
                answer = await desk.get(path)
                assert answer.status_code in {200, 303, 503}, path
                assert "hunter2" not in answer.text
                assert "Traceback" not in answer.text
            first = await desk.get("/")
            assert (first.status_code, "The store does not answer" in first.text) == (503, True), name
            setattr(store, name, kept)


async def test_a_broker_that_is_away_leaves_the_rest_of_the_overview(monkeypatch: pytest.MonkeyPatch) -> None:
    async with a_desk() as desk:

        async def gone(*_: object) -> None:
            raise BrokerUnavailable("amqp://guest:hunter2@mq.example is gone")

        monkeypatch.setattr(type(desk.app.bus), "depth", gone)
        answer = await desk.get("/")
        assert answer.status_code == 200
        assert "The broker does not answer as it should" in answer.text
        assert "hunter2" not in answer.text


async def test_a_fault_of_ours_is_told_to_the_log_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(*_: object, **__: object) -> None:
        raise RuntimeError("a secret of ours")

    async with a_desk() as desk:
        monkeypatch.setattr(sessions, "list_sessions", fails)
        answer = await desk.get("/sessions")
        assert (answer.status_code, "secret" in answer.text) == (500, False)
        assert "The log of this server says what" in answer.text


async def test_a_page_that_takes_too_long_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    async def for_ever(*_: object, **__: object) -> None:
        await asyncio.Event().wait()

    async with a_desk() as desk:
        monkeypatch.setattr(sessions, "list_sessions", for_ever)
        monkeypatch.setattr(dashboard_app, "PAGE_SECONDS", 0.01)
        answer = await desk.get("/sessions")
        assert (answer.status_code, "It took too long" in answer.text) == (504, True)


async def test_a_request_that_is_cancelled_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = asyncio.Event()

    async def for_ever(*_: object, **__: object) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            raise StoreUnavailable("in the place of the cancellation")

    async with a_desk() as desk:
        monkeypatch.setattr(operations, "statistics", for_ever)
        request = asyncio.create_task(desk.get("/"))
        await begun.wait()
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request


async def test_what_was_done_is_said_once_and_nothing_else_is_believed() -> None:
    async with a_desk() as desk:
        await desk.app.store.parked.put(a_parked())
        answer = await desk.post(f"/parked/{a_parked().parked_id}/discard")
        assert "is discarded" in await desk.said_after(answer)
        assert "is discarded" not in (await desk.get("/parked")).text
        for cookie in ("x", "eyJhIjoxfQ", "W10", "x" * 9000, "bnVsbA"):
            page = await desk.get(
                "/parked", cookie=f"agentbus={desk.browser.cookies['agentbus']}; agentbus_said={cookie}"
            )
            assert page.status_code == 200
            assert 'role="status">' not in page.text.replace('id="stale" class="notice bad" role="status" hidden>', "")


async def test_who_changed_what_is_in_the_log() -> None:
    async with a_desk() as desk:
        await desk.app.store.parked.put(a_parked())
        path = f"/parked/{a_parked().parked_id}/discard"
        with structlog.testing.capture_logs() as lines:
            await desk.post(path)
        [line] = [one for one in lines if one["event"] == "api_changed"]
        assert line["call"] == "POST /parked/{parked}/discard"
        assert (line["by"], line["about"]) == (f"key:{desk.key.split('_')[1]}", {"parked": a_parked().parked_id})
        assert desk.key not in str(lines)


async def test_it_looks_as_somebody_chose() -> None:
    async with a_desk() as desk:
        for theme, shown in (("dark", True), ("light", True), ('x" onload="', False)):
            page = await desk.get("/sign-in", cookie=f"agentbus_theme={theme}")
            page = page if page.text else await desk.get("/", cookie=f"agentbus_theme={theme}")
            assert (f'data-theme="{theme}"' in page.text) is shown, theme
