"""Backups by HTTP: started by a call, carried on by the server, looked at by whoever wants to know."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from agentbus.http.routes import backup
from agentbus.operations.api_keys import Role, key_id_in
from agentbus.operations.jobs import Jobs, Step
from agentbus.workers.backup.worker import LEASE
from tests.harness.api import World, a_message, api_world
from tests.harness.patience import PATIENCE

OVER: Final = {"done", "failed", "cancelled", "interrupted"}


@asynccontextmanager
async def with_backups(folder: Path) -> AsyncGenerator[World]:
    async with api_world(backup_url=f"file://{folder}") as world:
        world.api.parts.jobs._beat = 0.02
        yield world
        await world.api.parts.jobs.close()


async def over(by: httpx.AsyncClient, started: httpx.Response) -> dict[str, Any]:
    """Return a job once it is over."""
    assert started.status_code == 202, started.text
    assert started.headers["location"] == f"/v1/jobs/{started.json()['job_id']}"
    async with asyncio.timeout(PATIENCE):
        while True:
            job: dict[str, Any] = (await by.get(started.headers["location"])).json()
            if job["state"] in OVER:
                return job
            await asyncio.sleep(0.01)


async def test_a_backup_is_made_verified_restored_and_removed(tmp_path: Path) -> None:
    async with with_backups(tmp_path) as world:
        key = await world.key(*Role)
        async with world.caller(key) as by:
            session = (await by.post("/v1/messages", json=a_message())).json()["session_id"]
            made = await over(by, await by.post("/v1/backups", json={"description": "before", "tags": ["a"]}))
            assert (made["kind"], made["state"], made["by"]) == ("backup", "done", f"key:{key_id_in(key)}")
            backup = made["result"]["backup"]
            assert (backup["description"], backup["counts"]["sessions"]) == ("before", 1)
            [listed] = (await by.get("/v1/backups")).json()["items"]
            assert listed["backup_id"] == backup["backup_id"]

            for path in ("/v1/backups/verify", "/v1/backups/latest/verify"):
                verified = await over(by, await by.post(path))
                assert (verified["state"], verified["result"]["count"]) == ("done", 0)
                assert verified["result"]["files"] > 0
            assert verified["about"] == backup["backup_id"]

            await by.delete(f"/v1/sessions/{session}")
            dry = await over(by, await by.post("/v1/backups/latest/restore", json={"dry_run": True}))
            assert dry["result"]["outcomes"] == {"created": 1}
            assert (await by.get(f"/v1/sessions/{session}")).status_code == 404
            restored = await over(by, await by.post("/v1/backups/latest/restore"))
            assert restored["result"]["outcomes"] == {"created": 1}, restored
            assert (await by.get(f"/v1/sessions/{session}")).status_code == 200

            kept = await over(by, await by.post("/v1/backups/prune", json={"last": 1}))
            assert kept["result"]["backups"] == []
            body = {"remove": [backup["backup_id"]], "dry_run": True}
            assert (await over(by, await by.post("/v1/backups/prune", json=body)))["result"]["count"] == 1
            gone = await over(by, await by.post("/v1/backups/prune", json=body | {"dry_run": False}))
            assert gone["result"]["backups"] == [backup["backup_id"]]
            assert (await by.get("/v1/backups")).json()["items"] == []


async def test_what_is_not_there_is_told_at_once_and_what_fails_by_the_job(tmp_path: Path) -> None:
    async with with_backups(tmp_path) as world, world.caller() as by:
        for path in ("/v1/backups/latest/verify", "/v1/backups/x/restore"):
            assert (await by.post(path)).json()["code"] == "backup_not_found"
        failed = await over(by, await by.post("/v1/backups/prune", json={"remove": ["nowhere"]}))
        assert (failed["state"], failed["code"]) == ("failed", "backup_not_found")
    async with api_world() as without, without.caller() as by:
        assert (await by.post("/v1/backups")).json()["code"] == "feature_not_enabled"


async def test_one_runs_at_a_time_goes_on_without_who_started_it_and_is_cancelled_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = asyncio.Event()

    async def for_ever(*_: object) -> AsyncGenerator[Step, None]:
        begun.set()
        yield {"files": 1}
        await asyncio.Event().wait()

    monkeypatch.setattr(backup, "verifying", for_ever)
    async with with_backups(tmp_path) as world:
        async with world.caller() as by:
            started = await by.post("/v1/backups/verify", headers={"Idempotency-Key": "once"})
            await begun.wait()
        async with world.caller() as other:
            again = await other.post("/v1/backups/verify", headers={"Idempotency-Key": "once"})
            assert again.json()["job_id"] == started.json()["job_id"]
            for path in ("/v1/backups/prune", "/v1/backups"):  # with the same key, and yet something else
                refused = await other.post(path, headers={"Idempotency-Key": "once"})
                assert refused.json()["code"] == "job_running"
            assert (await other.post("/v1/backups")).json()["code"] == "job_running"
            assert (await other.get("/v1/jobs")).json()["items"][0]["state"] == "running"
        parts = world.api.parts
        elsewhere = Jobs(world.app.store, world.app.clock, parts.jobs._lease)
        await elsewhere.cancel(started.json()["job_id"])
        async with world.caller() as by:
            job = await over(by, started)
            assert (job["state"], job["progress"]) == ("cancelled", {"files": 1})
            assert (await by.post(f"/v1/jobs/{job['job_id']}/cancel")).json()["state"] == "cancelled"
        lock = await world.app.store.locks.acquire(parts.jobs._lease, ttl=LEASE)
        assert lock is not None, "the lease was given back"
