"""The archive: what was put away is listed, and comes back."""

from pathlib import Path

from agentbus.contracts.session import SessionStatus
from tests.harness.dashboard import a_desk, fill


async def test_a_session_comes_back_from_the_archive(tmp_path: Path) -> None:
    async with a_desk(archive_url=f"file://{tmp_path}/archive") as desk:
        filled = await fill(desk.app)
        assert filled.archived in (await desk.get("/archive")).text
        answer = await desk.post("/archive/restore", session=filled.archived)
        assert "is back, with its history" in await desk.said_after(answer)
        head = await desk.app.store.heads.get(filled.archived)
        assert head is not None
        assert head.status is SessionStatus.ACTIVE
        assert "back since" in (await desk.get("/archive")).text
        for wrong in ("", "x", filled.session):
            assert (await desk.post("/archive/restore", session=wrong)).status_code in {404, 409, 422}, wrong


async def test_without_a_place_it_says_how_to_name_one() -> None:
    async with a_desk() as desk:
        assert "AGENTBUS_ARCHIVE_URL" in (await desk.get("/archive")).text
