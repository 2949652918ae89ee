"""Conflicts by HTTP."""

from typing import Any

from agentbus.testing.conformance.store_shared_suite import a_conflict
from tests.harness.api import World
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
