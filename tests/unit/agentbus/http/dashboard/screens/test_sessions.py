"""Sessions in the dashboard: found, filtered by their URLs, page by page."""

import re

from agentbus.http.dashboard.screens import sessions as pages
from tests.harness.builders import a_conversation, a_head, an_address
from tests.harness.dashboard import Desk, a_desk, fill


async def _listed(desk: Desk, path: str) -> list[str]:
    page = (await desk.get(path)).text
    return re.findall(r'<a class="id" href="/sessions/([^"]+)">', page)


async def test_they_are_found_by_what_they_are() -> None:
    async with a_desk() as desk:
        filled = await fill(desk.app)
        everything = await _listed(desk, "/sessions")
        assert len(everything) == 13
        assert len(await _listed(desk, "/sessions?platform=slack")) == 4
        assert await _listed(desk, "/sessions?user=ann") == [filled.session]
        assert await _listed(desk, "/sessions?owner=ann&status=active&chat=shop&conflicts=yes") == [filled.session]
        assert len(await _listed(desk, "/sessions?conflicts=no")) == 12
        assert await _listed(desk, "/sessions?tag=nothing") == []
        for word in ("shop", filled.session.partition(".")[0]):
            assert await _listed(desk, f"/sessions?q={word}") == [filled.session], word
        assert (await desk.get(f"/sessions?q={filled.session}")).headers["location"] == f"/sessions/{filled.session}"
        page = (await desk.get("/sessions?user=ann&platform=telegram")).text
        assert '<a href="/sessions?platform=telegram" aria-label="Without user ann">' in page
        for odd in ("platform=No", "status=odd", f"user={'x' * 300}", "user=%00"):
            answer = await desk.get(f"/sessions?{odd}")
            assert (answer.status_code, "That is not possible" in answer.text) == (422, True), odd
        assert (await desk.get("/sessions?after=odd")).status_code == 422


async def test_each_is_on_one_page_whatever_changes_meanwhile() -> None:
    async with a_desk() as desk:
        heads = [
            a_head(a_conversation(f"page-{number}"), active=number, address=an_address(user="many"))
            for number in range(pages._LIMIT * 2 + 3)
        ]
        await desk.app.store.heads.save(heads)
        seen: list[str] = []
        path = "/sessions?user=many"
        for _ in range(3):
            page = (await desk.get(path)).text
            seen += re.findall(r'<a class="id" href="/sessions/([^"]+)">', page)
            following = re.findall(r'href="([^"]+)" rel="next"', page)
            assert "user=many" in "".join(following) or not following
            if not following:
                break
            path = following[0].replace("&amp;", "&")
        assert seen == [one.session_id for one in reversed(heads)]
