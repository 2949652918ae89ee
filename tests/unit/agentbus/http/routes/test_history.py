"""A session's messages, appended and trimmed by HTTP."""

from agentbus.operations.api_keys import Role
from tests.harness.api import World, a_message


async def test_a_message_is_appended_once_and_sent_to_nobody(world: World) -> None:
    key = await world.key(*Role)
    async with world.caller(key) as app, world.caller(key, user="bob") as bob:
        session = (await app.post("/v1/messages", json=a_message())).json()["session_id"]
        at = f"/v1/sessions/{session}/messages"
        said = {"role": "assistant", "text": "Hello!", "message_id": "m1"}
        for _ in range(2):
            appended = await app.post(at, json=said)
            assert (appended.status_code, appended.json()["message_id"]) == (201, "m1")
        for _ in range(2):
            tool = await app.post(at, json={"role": "tool", "text": "42"}, headers={"Idempotency-Key": "t1"})
            assert tool.json()["message_id"] == "t1"
        assert (await bob.post(at, json=said)).status_code == 403
        found = (await app.get(at)).json()["items"]
        told = [(one["message"]["role"], one["message"]["content"]["text"]) for one in found]
        assert told == [("user", "hello"), ("assistant", "Hello!"), ("tool", "42")]
        assert (await app.get("/v1/replies", params={"state": "waiting"})).json()["items"] == []


async def test_a_history_is_trimmed(world: World) -> None:
    async with world.caller() as by:
        session = (await by.post("/v1/messages", json=a_message())).json()["session_id"]
        at = f"/v1/sessions/{session}/messages"
        await by.post(at, json={"role": "assistant", "text": "Hello!"})
        assert (await by.delete(at, params={"keep_recent": 1})).status_code == 204
        assert [one["message"]["role"] for one in (await by.get(at)).json()["items"]] == ["assistant"]
        assert (await by.delete(at)).status_code == 204
        assert (await by.get(at)).json()["items"] == []
        assert (await by.delete(at, params={"keep_recent": -1})).status_code == 422
