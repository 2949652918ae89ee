"""The backups: made, looked at, verified and restored by forms, whose jobs go on by themselves."""

import asyncio
import re
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest

from agentbus.client import AgentBus
from agentbus.contracts.commands import SetData
from agentbus.http.backing_up import restoring
from agentbus.http.dashboard.screens import backup
from agentbus.operations.jobs import Step
from tests.harness.dashboard import Desk, a_desk, fill
from tests.harness.patience import PATIENCE


async def over(desk: Desk) -> tuple[str, str]:
    """Wait until the latest job is over; return how it ended, and what the page says of it."""
    async with asyncio.timeout(PATIENCE):
        while True:
            page = (await desk.get("/backups")).text
            state = re.findall(r'<span class="status (\w+)">', page)[0]
            if state != "running":
                [told] = re.findall(r"</bdi></td><td>(.*?)</td></tr>", page.split("</tr>")[1] + "</tr>")
                return state, told
            await asyncio.sleep(0.01)


async def test_one_is_made_looked_at_verified_and_restored(tmp_path: Path) -> None:
    async with a_desk(backup_url=f"file://{tmp_path}") as desk:
        filled = await fill(desk.app)
        assert "before the holidays" in (await desk.get("/backups")).text
        for fields in ({"description": "by hand"}, {"incremental": "yes"}):
            assert "A backup is made." in await desk.said_after(await desk.post("/backups", **fields))
            state, told = await over(desk)
            assert (state, "sessions 13" in told) == ("done", True)
            one = (await desk.get("/backups/latest")).text
            assert ("by hand" in one, "Goes on from" in one) == ("description" in fields, "incremental" in fields)
        [named] = re.findall(r"agentbus backup show ([^<]+)<", one)

        assert f"All of {named} is read." in await desk.said_after(await desk.post(f"/backups/{named}/verify"))
        state, told = await over(desk)
        assert (state, "faults 0" in told) == ("done", True)

        client = AgentBus(desk.app.bus)
        await client.send(SetData(session_id=filled.session, values={"language": "after the backup"}))
        await client.close()
        for look in ("yes", "no"):
            answer = await desk.post(f"/backups/{named}/restore", strategy="replace", look=look)
            assert ("looked what" in await desk.said_after(answer)) is (look == "yes")
            state, told = await over(desk)
            assert state == "done", told
            assert ("dry run" in told) is (look == "yes")
            head = await desk.app.store.heads.get(filled.session)
            assert head is not None
            assert head.data["language"] == ("after the backup" if look == "yes" else "en")
        for wrong in ("", "interactive", "by force"):
            assert (await desk.post(f"/backups/{named}/restore", strategy=wrong)).status_code == 422, wrong
        for path in ("/backups/nothing/verify", "/backups/nothing/restore", "/jobs/nothing/cancel"):
            assert (await desk.post(path, strategy="merge")).status_code == 404, path
        assert (await desk.get("/backups/nothing")).status_code == 404
        assert (await desk.post("/backups", description="x" * 1001)).status_code == 422


async def test_one_job_at_a_time_and_it_can_be_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    async def for_ever(*_: Any, **__: Any) -> AsyncGenerator[Step, None]:
        yield {"things": 7}
        await asyncio.Event().wait()

    async with a_desk() as desk:
        monkeypatch.setattr(backup, "backing_up", for_ever)
        await desk.said_after(await desk.post("/backups"))
        refused = await desk.post("/backups")
        assert (refused.status_code, "Another job is under way" in refused.text) == (409, True)
        async with asyncio.timeout(PATIENCE):
            while "things 7" not in (page := (await desk.get("/backups")).text):
                await asyncio.sleep(0.01)
        [job] = re.findall(r'action="/jobs/(\w+)/cancel"', page)
        assert "What it has done stays" in await desk.said_after(await desk.post(f"/jobs/{job}/cancel"))
        assert (await over(desk))[0] == "cancelled"


async def test_what_a_job_failed_by_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async with a_desk(backup_url=f"file://{tmp_path}") as desk:
        await fill(desk.app)
        [manifest] = (tmp_path / "backups").iterdir()
        kept = manifest.read_bytes()

        def damaging(*given: Any, **named: Any) -> AsyncGenerator[Step, None]:
            manifest.write_bytes(b"{")
            return restoring(*given, **named)

        monkeypatch.setattr(backup, "restoring", damaging)
        await desk.said_after(await desk.post("/backups/latest/restore", strategy="merge"))
        state, told = await over(desk)
        assert (state, "backup_damaged" in told) == ("failed", True)
        assert "damaged" in (await desk.get("/backups")).text
        manifest.write_bytes(kept)
        manifest.unlink()
        assert "No backup yet" in (await desk.get("/backups")).text


async def test_without_a_place_it_says_how_to_name_one() -> None:
    async with a_desk(backup_url=None) as desk:
        page = (await desk.get("/backups")).text
        assert "AGENTBUS_BACKUP_URL" in page
        assert "Back up now" not in page
        assert (await desk.post("/backups")).status_code == 409
