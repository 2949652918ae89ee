"""The archive and the backups: what is there is listed, and what was put away comes back."""

from pathlib import Path
from typing import Any

from agentbus.contracts.session import SessionStatus
from tests.harness.dashboard import a_desk, fill


async def test_a_session_comes_back_from_the_archive(tmp_path: Path) -> None:
    places: dict[str, Any] = {"archive_url": f"file://{tmp_path}/archive", "backup_url": f"file://{tmp_path}/backups"}
    async with a_desk(**places) as desk:
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
        page = (await desk.get("/backups")).text
        assert "before the holidays" in page
        [manifest] = (tmp_path / "backups" / "backups").iterdir()
        manifest.write_bytes(b"{")
        assert "damaged" in (await desk.get("/backups")).text
        manifest.unlink()
        assert "No backup yet" in (await desk.get("/backups")).text


async def test_without_places_it_says_how_to_name_them() -> None:
    async with a_desk() as desk:
        assert "AGENTBUS_ARCHIVE_URL" in (await desk.get("/archive")).text
        assert "AGENTBUS_BACKUP_URL" in (await desk.get("/backups")).text
