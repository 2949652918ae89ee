"""Tracking by HTTP."""

from agentbus.operations.api_keys import Role
from tests.harness.api import World, a_message


async def test_what_is_told_of_a_session_is_there_once_without_secrets(world: World) -> None:
    key = await world.key(*Role)
    async with world.caller(key, user="ann") as ann, world.caller(key, user="bob") as bob:
        session = (await ann.post("/v1/messages", json=a_message())).json()["session_id"]
        at = f"/v1/sessions/{session}/tracked-events"
        told = {"kind": "bought", "data": {"price": 7, "token": "secret"}}
        for _ in range(2):
            answer = await ann.post(at, json=told, headers={"Idempotency-Key": "once"})
            assert (answer.status_code, answer.json()["actor"]) == (201, "ann")
        await ann.post(at, json={"kind": "left"})
        first = (await ann.get(at, params={"limit": 1})).json()
        [rest] = (await ann.get(at, params={"after": first["cursor"]})).json()["items"]
        assert ([one["kind"] for one in first["items"]], rest["data"]["price"]) == (["left"], 7)
        assert rest["data"].get("token") != "secret"
        assert (await bob.get(at)).status_code == 403
        assert (await bob.post(at, json=told)).status_code == 403
        assert (await ann.get(at, params={"after": "x"})).status_code == 422


async def test_what_a_session_used_and_what_became_of_all(world: World) -> None:
    async with world.caller() as by:
        session = (await by.post("/v1/messages", json=a_message())).json()["session_id"]
        used = (await by.get(f"/v1/sessions/{session}/usage")).json()
        assert (used["session_id"], used["owner"]) == (session, "ann")
        assert (await by.get("/v1/sessions/x/usage")).status_code == 404
        states = (await by.get("/v1/statistics/states", params={"days": 1})).json()
        assert (states["started"], states["now"]["active"]) == (1, 1)
        assert (await by.get("/v1/statistics/states", params={"days": 0})).status_code == 422
        machine = (await by.get("/v1/state-machine")).json()
        assert machine["states"] == []
        assert {"active", "suspended"} <= {one["target"] for one in machine["transitions"]}
