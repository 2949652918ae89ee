"""What leaves the store, by HTTP: archive, backups, erasure."""

import asyncio
from pathlib import Path

import pytest

from agentbus.http.routes import archive
from agentbus.storage.archive import open_archive
from agentbus.storage.backup import open_backups
from agentbus.workers.archive.index import archived_session, put_index
from agentbus.workers.archive.storing import write_archive
from tests.harness.api import World, a_message, api_world
from tests.harness.backups import backed_up


async def test_what_is_not_set_up_is_said(world: World) -> None:
    async with world.caller() as by:
        for call in (by.get("/v1/backups"), by.get("/v1/backups/latest"), by.post(f"/v1/archive/{'a' * 26}.1/restore")):
            answer = await call
            assert (answer.status_code, answer.json()["code"]) == (409, "feature_not_enabled")
            assert "AGENTBUS_" in answer.json()["detail"]
        assert (await by.get("/v1/archive")).json() == {"items": [], "cursor": None}


async def test_archived_sessions_are_listed_and_brought_back(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/archive"
    async with api_world(archive_url=url) as world, world.caller() as by:
        session = (await by.post("/v1/messages", json=a_message())).json()["session_id"]
        await by.post(f"/v1/sessions/{session}/state", json={"state": "expired"})
        store = world.app.store
        head = await store.heads.get(session)
        assert head is not None
        await put_index(store, archived_session(head, await write_archive(store, open_archive(url), head)))
        [listed] = (await by.get("/v1/archive")).json()["items"]
        assert (listed["session_id"], listed["owner"], listed["platform"]) == (session, "ann", "web")
        missing = await by.post(f"/v1/archive/{'a' * 26}.1/restore")
        assert (missing.status_code, missing.json()["code"]) == (404, "session_not_found")


async def test_backups_are_listed_and_told(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/backups"
    async with api_world(backup_url=url) as world, world.caller() as by:
        assert (await by.get("/v1/backups")).json() == {"items": []}
        assert (await by.get("/v1/backups/latest")).status_code == 404
        made = await backed_up(world.app.store, open_backups(url), description="of a test")
        [listed] = (await by.get("/v1/backups")).json()["items"]
        assert (listed["backup_id"], listed["description"], listed["damage"]) == (made.backup_id, "of a test", None)
        for name in ("latest", made.backup_id):
            assert (await by.get(f"/v1/backups/{name}")).json() == listed
        for name in ("20200101-000000-aaaaaa", "..", "x"):
            assert (await by.get(f"/v1/backups/{name}")).status_code == 404, name


async def test_a_user_is_erased_after_a_look(world: World) -> None:
    async with world.caller() as by:
        session = (await by.post("/v1/messages", json=a_message(user="ann"))).json()["session_id"]
        other = (await by.post("/v1/messages", json=a_message(user="bob"))).json()["session_id"]
        plan = (await by.get("/v1/users/ann/erasure")).json()
        assert (plan["sessions"], plan["messages"], plan["people"]) == ([session], 1, ["ann"])
        assert (await by.get(f"/v1/sessions/{session}")).status_code == 200, "nothing was changed"
        receipt = (await by.post("/v1/users/ann/erasure")).json()
        assert (receipt["sessions"], receipt["messages"]) == ([session], 1)
        assert "ann" not in receipt["subject"]
        assert (await by.get(f"/v1/sessions/{session}")).status_code == 404
        assert (await by.get(f"/v1/sessions/{other}")).status_code == 200


async def test_what_takes_too_long_is_said_to_go_on_when_it_is_called_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[bool] = []

    async def for_ever(*_: object) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    monkeypatch.setattr(archive, "erase_user", for_ever)
    monkeypatch.setattr(archive, "PATIENCE_SECONDS", 0.01)
    async with world.caller() as by:
        answer = await by.post("/v1/users/ann/erasure")
    assert (answer.status_code, answer.json()["code"], answer.headers["retry-after"]) == (503, "still_at_it", "1")
    assert ended
