"""Parked inputs in the dashboard: mended and replayed until they are committed; exactly those that were chosen."""

import json
import re
from typing import Any

import pytest

from agentbus.contracts.errors import BrokerUnavailable
from agentbus.contracts.history import SessionFilter
from agentbus.contracts.parked import ParkedInput, ParkedStatus
from agentbus.http.dashboard.screens import parked as pages
from agentbus.testing.clock import later
from tests.harness.builders import a_parked
from tests.harness.dashboard import Desk, a_desk, fill


async def _status(desk: Desk, parked: ParkedInput) -> ParkedStatus:
    found = await desk.app.store.parked.get(parked.parked_id)
    assert found is not None
    return found.status


async def test_a_bad_one_is_mended_replayed_and_committed() -> None:
    async with a_desk() as desk:
        filled = await fill(desk.app)
        path = f"/parked/{filled.mendable.parked_id}"
        page = (await desk.get(path)).text
        assert "data.address.chat: Field required" in page
        [text] = re.findall(r"(?s)<textarea[^>]*>\n(.*?)</textarea>", page)
        assert "&lt;b&gt;" in text
        mended = json.loads(text.replace("&#34;", '"').replace("&lt;", "<").replace("&gt;", ">"))
        assert mended == json.loads(filled.mendable.body)

        still_wrong = await desk.post(f"{path}/mend", body=json.dumps(mended))
        assert (still_wrong.status_code, "read either" in still_wrong.text) == (422, True)
        assert await _status(desk, filled.mendable) is ParkedStatus.PARKED

        mended["data"]["address"]["chat"] = "garden"
        answer = await desk.post(f"{path}/mend", body=json.dumps(mended, indent=2).replace("\n", "\r\n"))
        assert "mended and published again" in await desk.said_after(answer)
        assert await _status(desk, filled.mendable) is ParkedStatus.REPLAYED
        while not (found := (await desk.app.store.heads.page(SessionFilter(chat="garden"))).items):
            await later()
        assert found[0].message_count == 1


async def test_one_is_replayed_or_discarded() -> None:
    async with a_desk() as desk:
        filled = await fill(desk.app)
        answer = await desk.post(f"/parked/{filled.mendable.parked_id}/discard")
        assert "is discarded" in await desk.said_after(answer)
        assert await _status(desk, filled.mendable) is ParkedStatus.DISCARDED
        answer = await desk.post(f"/parked/{filled.bad.parked_id}/replay")
        assert "published again, to agentbus.inbound.0" in await desk.said_after(answer)
        while (again := await desk.app.store.parked.get(filled.bad.parked_id)) and again.attempts == 1:
            await later()  # it is as bad as it was
        body = await desk.get(f"/parked/{filled.bad.parked_id}/body")
        assert body.content == filled.bad.body
        assert body.headers["content-disposition"].startswith("attachment")
        assert body.headers["content-type"] == "application/octet-stream"
        assert (await desk.post("/parked/nobody/discard")).status_code == 404


async def test_exactly_those_that_were_chosen_are_acted_on_after_a_count() -> None:
    async with a_desk() as desk:
        some = [a_parked(f"bad-{number}", at=number) for number in range(4)]
        other = a_parked("other", at=9).model_copy(update={"code": "schema_violation"})
        for one in (*some, other):
            await desk.app.store.parked.put(one)
        page = (await desk.get("/parked?code=undecodable")).text
        assert other.parked_id not in page
        [seen] = re.findall(r'name="everything" value="([^"]*)"', page)
        assert seen.split() == [one.parked_id for one in reversed(some)]

        await desk.app.store.parked.put(a_parked("came since", at=10))
        asked = await desk.post("/parked/chosen", what="discard", choice="everything", everything=seen)
        assert "Discard 4 inputs?" in asked.text
        assert {await _status(desk, one) for one in some} == {ParkedStatus.PARKED}
        [meant] = re.findall(r'name="everything" value="([^"]*)"', asked.text)
        answer = await desk.post("/parked/chosen/done", what="discard", choice="everything", everything=meant)
        assert "4 of 4 discarded." in await desk.said_after(answer)
        assert {await _status(desk, one) for one in some} == {ParkedStatus.DISCARDED}
        left = await desk.app.store.parked.page(ParkedStatus.PARKED)
        assert {one.message_id for one in left.items} == {"other", "came since"}


async def test_what_can_not_be_replayed_is_said_and_the_others_are(monkeypatch: pytest.MonkeyPatch) -> None:
    async with a_desk() as desk:
        good, foreign = a_parked("good"), a_parked("foreign").model_copy(update={"queue": "of somebody else"})
        for one in (good, foreign):
            await desk.app.store.parked.put(one)
        chosen: dict[str, Any] = {"id": [good.parked_id, foreign.parked_id, "nobody"]}
        assert "Replay 3 inputs?" in (await desk.post("/parked/chosen", what="replay", **chosen)).text
        said = await desk.said_after(await desk.post("/parked/chosen/done", what="replay", **chosen))
        assert said.startswith("1 of 3 published again.")
        assert "1 failed: replay_refused." in said
        assert "1 failed: parked_not_found." in said

        async def gone(*_: object, **__: object) -> None:
            raise BrokerUnavailable("it went")

        monkeypatch.setattr(pages, "replay_parked", gone)
        said = await desk.said_after(await desk.post("/parked/chosen/done", what="replay", **chosen))
        assert said.startswith("0 of 3 published again. Then it ended: it went")


async def test_what_makes_no_sense_is_refused() -> None:
    async with a_desk() as desk:
        assert "Nothing was chosen" in await desk.said_after(await desk.post("/parked/chosen", what="replay"))
        assert (await desk.post("/parked/chosen", what="explode", id="x")).status_code == 422
        many = " ".join(map(str, range(501)))
        asked = await desk.post("/parked/chosen", what="replay", choice="everything", everything=many)
        assert asked.status_code == 422
        assert (await desk.get("/parked?status=odd")).status_code == 422


async def test_bytes_that_would_grow_are_shown_as_they_are() -> None:
    async with a_desk() as desk:
        deep = (b"[" * 900 + b"]" * 900 + b",") * 100
        bodies = {
            "deep": b"[" + deep + b"1]",
            "deeper": b"[" * 100_000,
            "longer": b'"' + "é".encode() * 300_000 + b'"',
            "long": b'"' + b"x" * 300_000 + b'"',
            "number": b"1" * 100_000,
            "bytes": bytes(range(256)),
            "escapes": b'"\\ud800"',
        }
        for name, body in bodies.items():
            one = a_parked(name, body=body)
            await desk.app.store.parked.put(one)
            page = await desk.get(f"/parked/{one.parked_id}")
            assert page.status_code == 200, name
            assert len(page.text) < 700_000, name
        assert (await desk.get("/parked")).status_code == 200


async def test_more_than_a_page_are_counted_as_what_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "MOST", 4)
    monkeypatch.setattr(pages, "_PAGE", 2)
    monkeypatch.setattr(pages, "_SHOWN", 3)
    async with a_desk() as desk:
        for number in range(6):
            await desk.app.store.parked.put(a_parked(f"bad-{number}", at=number))
        page = (await desk.get("/parked")).text
        assert "By error, the latest 4" in page
        assert "4 inputs, the latest 3 shown" in page
