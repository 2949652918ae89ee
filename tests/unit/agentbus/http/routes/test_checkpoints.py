"""Checkpoints by HTTP."""

from agentbus.operations.api_keys import Role
from tests.harness.api import World, a_message


async def test_data_is_saved_and_brought_back(world: World) -> None:
    key = await world.key(*Role)
    async with world.caller(key, user="ann") as by, world.caller(key) as app:
        session = (await by.post("/v1/messages", json=a_message())).json()["session_id"]
        at = f"/v1/sessions/{session}"
        await by.patch(at, json={"data": {"set": {"step": 1}}})
        saved = await by.post(f"{at}/checkpoints", json={"checkpoint_id": "c1"})
        assert (saved.status_code, saved.json()["data"]) == (201, {"step": 1})
        other = (await by.post(f"{at}/checkpoints", json={"data": {"step": 7}})).json()
        own = (await by.post(f"{at}/checkpoints")).json()
        await by.patch(at, json={"data": {"set": {"step": 2}}})
        assert (await by.post(f"{at}/checkpoints/c1/restore")).json()["checkpoint_id"] == "c1"
        assert (await by.get(at)).json()["data"] == {"step": 1}
        first = (await by.get(f"{at}/checkpoints", params={"limit": 2})).json()
        rest = (await by.get(f"{at}/checkpoints", params={"after": first["cursor"]})).json()
        listed = [one["checkpoint_id"] for one in first["items"] + rest["items"]]
        assert listed == [own["checkpoint_id"], other["checkpoint_id"], "c1"]
        assert (await by.delete(f"{at}/checkpoints/c1")).status_code == 204
        assert (await by.delete(f"{at}/checkpoints/c1")).status_code == 403
        assert (await app.delete(f"{at}/checkpoints/c1")).status_code == 404
        assert (await app.post(f"{at}/checkpoints/c1/restore")).status_code == 404
        assert (await app.get(f"{at}/checkpoints", params={"after": "x"})).status_code == 422
