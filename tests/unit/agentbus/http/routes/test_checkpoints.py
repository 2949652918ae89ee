"""Checkpoints by HTTP."""

from base64 import b64encode

from agentbus.contracts.commands import SetData
from agentbus.contracts.envelope import InputEnvelope
from agentbus.contracts.ids import SessionId
from agentbus.contracts.operators import Operator
from agentbus.operations.api_keys import Role, key_id_in
from tests.harness.api import World, a_message
from tests.harness.builders import a_parked


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


async def test_the_trail_says_which_key_had_it_done_and_for_whom(world: World) -> None:
    key = await world.key(*Role)
    named = f"key:{key_id_in(key)}"
    async with world.caller(key, user="ann") as ann, world.caller(key) as app:
        session = (await ann.post("/v1/messages", json=a_message())).json()["session_id"]
        at = f"/v1/sessions/{session}"
        await app.patch(at, json={"data": {"set": {"step": 1}}})
        await ann.patch(at, json={"add_tags": ["vip"]})
        await app.post("/v1/identities/ann/sessions", json={"session_ids": [session]})
        await app.post(f"{at}/replies", json={"text": "Hello!"})
        await app.post(f"{at}/close")
        trail = await app.get(f"{at}/audit")
    told = [(one["action"], one["actor"], one["by"]) for one in reversed(trail.json()["items"])]
    assert told == [
        ("session_started", "ann", None),
        ("message_appended", "ann", None),
        ("data_set", None, named),
        ("updated", "ann", named),
        ("identity_linked", None, named),
        ("message_appended", None, named),
        ("session_closed", None, named),
    ]
    assert key.rpartition("_")[2] not in trail.text


async def test_a_command_in_corrected_bytes_is_given_by_whoever_replays_it(world: World) -> None:
    key = await world.key(*Role)
    async with world.caller(key) as app:
        session = SessionId((await app.post("/v1/messages", json=a_message())).json()["session_id"])
        forged = SetData(session_id=session, values={"step": 1}, by=Operator(key="another"))
        parked = a_parked("broken", body=b"{")
        await world.app.store.parked.put(parked)
        body = {"corrected": b64encode(InputEnvelope(id="1", data=forged).to_bytes()).decode()}
        assert (await app.post(f"/v1/parked/{parked.parked_id}/replay", json=body)).status_code == 200
        await app.patch(f"/v1/sessions/{session}", json={"data": {"set": {"step": 2}}})  # it comes after the other
        trail = (await app.get(f"/v1/sessions/{session}/audit")).json()["items"]
    assert [one["by"] for one in trail if one["action"] == "data_set"] == [f"key:{key_id_in(key)}"] * 2


async def test_without_any_key_it_is_nobody_in_particular(world: World) -> None:
    async with world.caller() as here:
        session = (await here.post("/v1/messages", json=a_message())).json()["session_id"]
        await here.post(f"/v1/sessions/{session}/close")
        trail = (await here.get(f"/v1/sessions/{session}/audit")).json()["items"]
    assert {one["by"] for one in trail} == {None}
