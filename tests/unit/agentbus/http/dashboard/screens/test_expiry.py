"""Expiry rules: shown, switched, taken away; what is due by them, without doing it."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from agentbus.http.dashboard.screens import expiry as screen
from agentbus.operations.expiry import Progress, list_rules
from tests.harness.dashboard import a_desk, fill


async def test_rules_are_switched_and_taken_away() -> None:
    async with a_desk() as desk:
        await fill(desk.app)
        page = (await desk.get("/expiry")).text
        assert "idle for 30 d" in page
        assert "notify, archive after 1 d" in page
        for enabled, said in (("no", "is off"), ("yes", "is on")):
            answer = await desk.post("/expiry/quiet/enable", enabled=enabled)
            assert said in await desk.said_after(answer)
            assert {one.rule_id: one.enabled for one in await list_rules(desk.app.store)}["quiet"] is (enabled == "yes")
        assert "is gone" in await desk.said_after(await desk.post("/expiry/quiet/remove"))
        assert [one.rule_id for one in await list_rules(desk.app.store)] == ["long"]
        assert (await desk.post("/expiry/quiet/remove")).status_code == 404
        assert (await desk.post("/expiry/quiet/enable", enabled="yes")).status_code == 404


async def test_what_is_due_is_told_and_not_done(monkeypatch: pytest.MonkeyPatch) -> None:
    async with a_desk() as desk:
        filled = await fill(desk.app)
        before = await desk.app.store.heads.get(filled.session)
        page = (await desk.get("/expiry?due=now")).text
        assert "13 sessions looked at" in page
        assert filled.session in page
        assert await desk.app.store.heads.get(filled.session) == before

        async def endless(*_: object, **__: object) -> AsyncGenerator[Progress, None]:
            yield Progress(7)
            await asyncio.Event().wait()

        monkeypatch.setattr(screen, "sweep", endless)
        monkeypatch.setattr(screen, "_SECONDS", 0.01)
        assert "there may be more" in (await desk.get("/expiry?due=now")).text
