"""Locks of sessions by HTTP."""

from agentbus.operations.api_keys import Role
from tests.harness.api import World, a_message


async def test_one_holds_it_and_whoever_held_it_before_is_refused(world: World) -> None:
    key = await world.key(*Role)
    async with world.caller(key) as app, world.caller(key, user="bob") as bob:
        session = (await app.post("/v1/messages", json=a_message())).json()["session_id"]
        at = f"/v1/sessions/{session}"
        first = (await app.post(f"{at}/lock", json={"lease": 60})).json()["token"]
        taken = await app.post(f"{at}/lock")
        assert (taken.status_code, taken.json()["code"]) == (409, "lock_timeout")
        assert (await app.post(f"{at}/lock/{first}/renew", json={"lease": 5})).json() == {"token": first, "lease": 5.0}
        assert (await bob.post(f"{at}/lock")).status_code == 403
        assert (await app.delete(f"{at}/lock/{first}")).status_code == 204
        second = (await app.post(f"{at}/lock")).json()["token"]
        change = {"data": {"set": {"step": 2}}}
        held = await app.patch(at, json=change, headers={"X-AgentBus-Fence": str(second)})
        assert held.json()["data"] == {"step": 2}
        for refused in (
            await app.patch(at, json=change, headers={"X-AgentBus-Fence": str(first)}),
            await app.patch(at, json=change, headers={"X-AgentBus-Fence": str(second + 1)}),
            await app.post(f"{at}/close", headers={"X-AgentBus-Fence": str(first)}),
            await app.post(f"{at}/messages", json={"role": "tool", "text": "x"}, headers={"X-AgentBus-Fence": "7"}),
            await app.post(f"{at}/lock/{first}/renew"),
            await app.delete(f"{at}/lock/{first}"),
        ):
            assert (refused.status_code, refused.json()["code"]) == (409, "lock_lost"), refused.request.url
