"""Replies by HTTP: those that somebody has to decide about."""

from tests.harness.api import World
from tests.harness.outbound import in_doubt


async def test_one_that_nobody_knows_of_is_decided(world: World) -> None:
    unknown = await in_doubt(world.app.store)
    session, number = unknown.split("/")
    async with world.caller() as by:
        [listed] = (await by.get("/v1/replies")).json()["items"]
        assert (listed["reply_id"], listed["state"]) == (unknown, "unknown")
        assert (await by.get("/v1/replies", params={"state": "waiting"})).json() == {"items": [], "cursor": None}
        at = f"/v1/sessions/{session}/replies/{number}/resolve"
        assert (await by.post(at, json={"resolution": "perhaps"})).status_code == 422
        decided = await by.post(at, json={"resolution": "sent", "reason": "it is in the chat"})
        assert (decided.status_code, decided.json()["reply_id"]) == (200, unknown)
        again = await by.post(at, json={"resolution": "sent"})
        assert (again.status_code, again.json()["code"]) == (404, "reply_not_found")
        assert (await by.get("/v1/replies")).json()["items"] == []
