"""A key is exchanged for a cookie, which is good for as long as the key is, and no longer than a working day."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from agentbus.contracts.clock import Clock
from agentbus.contracts.records import RecordKind
from agentbus.operations.api_keys import Role, create_key, revoke_key
from agentbus.operations.sign_ins import LASTS
from agentbus.workers.adapters.pace import Pace
from tests.harness.dashboard import FROM_HERE, Desk, a_desk


class _Later(Clock):
    """A clock that is ahead."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.ahead = timedelta()

    def now(self) -> datetime:
        return self._clock.now() + self.ahead


async def _is_in(desk: Desk) -> bool:
    return (await desk.get("/parked")).status_code == 200


async def test_the_cookie_is_no_key_and_no_script_reads_it() -> None:
    async with a_desk() as desk:
        answer = await desk.post("/sign-out")
        assert not await _is_in(desk)
        answer = await desk.post("/sign-in", key=f" {desk.key} ", back="/sessions?user=ann")
        assert answer.headers["location"] == "/sessions?user=ann"
        [cookie] = answer.headers.get_list("set-cookie")
        for part in ("HttpOnly", "SameSite=strict", "Path=/", f"Max-Age={LASTS.total_seconds():.0f}"):
            assert part in cookie
        assert "Secure" not in cookie  # the page came by http
        token = desk.browser.cookies["agentbus"]
        assert desk.key not in answer.text + str(answer.headers)
        page = await desk.get("/")
        assert token not in page.text
        assert desk.key not in page.text
        kept = await desk.app.store.records.scan(RecordKind.SIGN_IN, limit=10)
        assert kept.items
        assert token not in "".join(one.model_dump_json() for one in kept.items)


async def test_over_https_the_cookie_goes_by_https_alone() -> None:
    async with a_desk() as desk:
        csrf = await desk.csrf()
        answer = await desk.browser.post(
            "https://127.0.0.1/sign-in", data={"csrf": csrf, "key": desk.key}, headers=FROM_HERE
        )
        assert "Secure" in answer.headers["set-cookie"]


async def test_signing_in_gives_a_new_token() -> None:
    """Whoever could plant one before knows none afterwards."""
    async with a_desk() as desk:
        await desk.post("/sign-out")
        await desk.get("/sign-in")
        planted = desk.browser.cookies["agentbus"]
        await desk.post("/sign-in", key=desk.key)
        assert desk.browser.cookies["agentbus"] != planted
        assert await _is_in(desk)
        desk.browser.cookies.clear()
        desk.browser.cookies.set("agentbus", planted)
        assert not await _is_in(desk)


async def test_what_is_no_key_lets_nobody_in(monkeypatch: pytest.MonkeyPatch) -> None:
    async with a_desk() as desk:
        revoked, gone = await create_key(desk.app.store, desk.app.clock, "gone", list(Role))
        await revoke_key(desk.app.store, desk.app.clock, revoked.key_id)
        _, blind = await create_key(desk.app.store, desk.app.clock, "blind", [Role.PUBLISH, Role.OPERATE])
        await desk.post("/sign-out")
        for key, why in ((gone, "is no key"), ("", "is no key"), (f"{desk.key}x", "is no key"), (blind, "role read")):
            answer = await desk.post("/sign-in", key=key)
            assert (answer.status_code, why in answer.text) == (403, True), key
            assert not await _is_in(desk)
            assert not key or key not in answer.text
        monkeypatch.setattr(Pace, "allows", lambda _: False)
        assert (await desk.post("/sign-in", key=desk.key)).status_code == 429


async def test_whose_key_is_revoked_is_out() -> None:
    async with a_desk() as desk:
        assert await _is_in(desk)
        await revoke_key(desk.app.store, desk.app.clock, desk.key.split("_")[1])
        assert not await _is_in(desk)


async def test_who_signs_out_is_out_whatever_their_browser_kept() -> None:
    async with a_desk() as desk:
        token = desk.browser.cookies["agentbus"]
        assert "signed out" in await desk.said_after(await desk.post("/sign-out"))
        desk.browser.cookies.clear()
        desk.browser.cookies.set("agentbus", token)
        assert not await _is_in(desk)


async def test_a_working_day_later_somebody_signs_in_again() -> None:
    async with a_desk() as first:
        clock = _Later(first.app.clock)
        async with a_desk(app=replace(first.app, clock=clock)) as desk:
            clock.ahead = LASTS - timedelta(minutes=1)
            assert await _is_in(desk)
            clock.ahead = LASTS
            assert not await _is_in(desk)
            await desk.post("/sign-in", key=desk.key)
            kept = await desk.app.store.records.scan(RecordKind.SIGN_IN, limit=10)
            assert len(kept.items) == 1  # the old ones are gone


async def test_nobody_is_led_elsewhere() -> None:
    async with a_desk() as desk:
        for back in ("//evil.example", "/\\evil.example", "https://evil.example", "evil", "/\t/evil.example", "/é", ""):
            await desk.post("/sign-out")
            answer = await desk.post("/sign-in", key=desk.key, back=back)
            assert answer.headers["location"] == "/", back
        assert (await desk.get("/sign-in")).headers["location"] == "/"
