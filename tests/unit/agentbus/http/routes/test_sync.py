"""Conflicts by HTTP."""

from typing import Any

from agentbus.testing.conformance.store_shared_suite import a_conflict
from tests.harness.api import World, a_message
from tests.harness.builders import a_conversation, a_head


async def test_open_conflicts_are_listed(world: World) -> None:
    conflict = a_conflict()
    head = a_head(a_conversation()).model_copy(update={"conflicts": (conflict,), "sequence": 1, "identity": "ann"})
    await world.app.store.heads.save([head])
    async with world.caller() as by:
        for identity, count in ((None, 1), ("ann", 1), ("bob", 0)):
            params = {"identity": identity} if identity else {}
            items = (await by.get("/v1/conflicts", params=params)).json()["items"]
            assert len(items) == count
        [listed] = (await by.get("/v1/conflicts")).json()["items"]
        assert (listed["session_id"], listed["conflicts"][0]["source"]) == (head.session_id, conflict.source)
        at = f"/v1/sessions/{head.session_id}/conflicts/resolve"
        bodies: list[dict[str, Any]] = [
            {"resolution": {}},
            {"resolution": {"take_offered": True}, "fields": ["no pointer"]},
        ]
        for wrong in bodies:
            assert (await by.post(at, json=wrong)).status_code == 422


async def test_policies_are_read_changed_and_forgotten(world: World) -> None:
    async with world.caller() as by:
        assert (await by.get("/v1/sync/policy")).json()["mode"] == "automatic"
        changed = (await by.patch("/v1/sync/policy", json={"mode": "manual", "priority": ["web"]})).json()
        assert (changed["mode"], changed["priority"], changed["data"]) == ("manual", ["web"], ["*"])
        own = "/v1/identities/ann/policy"
        assert (await by.get(own)).json()["mode"] == "manual"
        assert (await by.patch(own, json={"mode": "batch", "interval": 5})).json()["interval"] == 5.0
        assert (await by.get("/v1/sync/policy")).json()["mode"] == "manual"
        assert (await by.patch(own, json={"modes": "batch"})).status_code == 422
        assert (await by.delete(own)).json()["mode"] == "manual"


async def test_a_session_is_synced_now_and_the_trail_says_so(world: World) -> None:
    async with world.caller() as by:
        sessions = [
            (await by.post("/v1/messages", json=a_message(user=user))).json()["session_id"] for user in ("ann", "anna")
        ]
        await by.patch("/v1/sync/policy", json={"mode": "manual"})
        await by.post("/v1/identities/ann/sessions", json={"session_ids": sessions})
        await by.patch(f"/v1/sessions/{sessions[0]}", json={"data": {"set": {"step": 1}}})
        report = (await by.post(f"/v1/sessions/{sessions[0]}/sync")).json()
        assert [(one["session_id"], one["changed"]) for one in report["sessions"]] == [(sessions[1], True)]
        assert (await by.get(f"/v1/sessions/{sessions[1]}")).json()["data"] == {"step": 1}
        trail = (await by.get(f"/v1/sessions/{sessions[1]}/sync")).json()["items"]
        assert [one["action"] for one in trail] == ["context_merged", "identity_linked"]
        whole = (await by.get("/v1/identities/ann/sync", params={"limit": 2})).json()
        assert len(whole["items"]) == 2
        assert (await by.get("/v1/identities/ann/sync", params={"after": whole["cursor"]})).json()["items"]
        assert (await by.get(f"/v1/sessions/{sessions[1]}/identity")).json()["identity_key"] == "ann"
        assert (await by.post("/v1/sessions/x/sync")).status_code == 404
