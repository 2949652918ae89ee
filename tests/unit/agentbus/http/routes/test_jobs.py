"""Jobs by HTTP; what they do is in test_backup.py."""

from tests.harness.api import World


async def test_a_job_that_is_not_there_is_not_found(world: World) -> None:
    async with world.caller() as by:
        for path in ("/v1/jobs/nowhere", "/v1/jobs/a.cancel", f"/v1/jobs/{'a' * 255}"):
            assert (await by.get(path)).json()["code"] == "job_not_found", path
        assert (await by.post("/v1/jobs/nowhere/cancel")).json()["code"] == "job_not_found"
        assert (await by.get("/v1/jobs")).json() == {"items": [], "cursor": None}
        assert (await by.get("/v1/jobs", params={"after": "x"})).status_code == 422
