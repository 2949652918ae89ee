"""Templates by HTTP."""

from agentbus.operations.api_keys import Role
from tests.harness.api import World, a_message


async def test_one_is_saved_listed_applied_and_deleted(world: World) -> None:
    key = await world.key(*Role)
    async with world.caller(key) as app, world.caller(key, user="ann") as ann, world.caller(key, user="bob") as bob:
        given = {"system_prompt": "Be kind.", "context": {"step": 1}, "capabilities": ["search"]}
        saved = await app.put("/v1/templates/guide", json=given)
        assert saved.status_code == 200
        assert saved.json() | given == saved.json()
        assert (await app.get("/v1/templates")).json()["items"] == [saved.json()]
        assert (await app.get("/v1/templates/guide")).json() == saved.json()
        session = (await ann.post("/v1/messages", json=a_message())).json()["session_id"]
        at = f"/v1/sessions/{session}/template"
        applied = (await ann.post(at, json={"template": "guide"})).json()
        assert (applied["data"], applied["metadata"]["system_prompt"]) == ({"step": 1}, "Be kind.")
        assert (await bob.post(at, json={"template": "guide"})).status_code == 403
        assert (await app.post(at, json={"template": "nowhere"})).json()["code"] == "template_not_found"
        assert (await app.delete("/v1/templates/guide")).status_code == 204
        for answer in (await app.delete("/v1/templates/guide"), await app.get("/v1/templates/guide")):
            assert (answer.status_code, answer.json()["code"]) == (404, "template_not_found")
