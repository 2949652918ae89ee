"""Figures by HTTP."""

from agentbus.contracts.members import WorkerKind
from agentbus.operations.api_keys import Role
from tests.harness.api import World, a_message
from tests.harness.builders import a_member


async def test_sessions_are_counted(world: World) -> None:
    key = await world.key(*Role)
    async with world.caller(key) as by, world.caller(key, user="ann") as ann:
        for user in ("ann", "ann", "bob"):
            await by.post("/v1/messages", json=a_message(user=user))
        cases = {"": (2, 3), "owner=ann": (1, 2), "platform=slack": (0, 0)}
        for query, (total, messages) in cases.items():
            found = (await by.get(f"/v1/statistics?{query}")).json()
            assert (found["total"], found["messages"]) == (total, messages), query
        assert (await ann.get("/v1/statistics")).json()["messages"] == 2
        assert (await ann.get("/v1/statistics?owner=bob")).status_code == 403


async def test_usage_and_chances(world: World) -> None:
    async with world.caller() as by:
        session = (await by.post("/v1/messages", json=a_message())).json()["session_id"]
        usage = (await by.get("/v1/statistics/usage", params={"zone": "Europe/Berlin", "period": "hour"})).json()
        assert (len(usage["by_hour"]), len(usage["by_weekday"])) == (24, 7)
        for query in ("zone=Nowhere/At", "days=0", "days=nan", "period=year", "zone=../x"):
            assert (await by.get(f"/v1/statistics/usage?{query}")).status_code == 422, query
        chances = await by.get(f"/v1/sessions/{session}/prediction")
        assert (chances.status_code, chances.json()["session_id"]) == (200, session)
        for missing in ("x", f"{'a' * 26}.1"):
            assert (await by.get(f"/v1/sessions/{missing}/prediction")).status_code == 404


async def test_every_partition_says_who_has_it(world: World) -> None:
    group = WorkerKind.SESSION.group("agentbus")
    first = a_member("w1", owns=(0, 2)).model_copy(update={"stopped": (2,)})
    second = a_member("w2", owns=(1,)).model_copy(update={"stands_by": (0, 2)})
    for member in (first, second):
        await world.app.store.members.heartbeat(group, member, ttl=60)
    async with world.caller() as by:
        items = (await by.get("/v1/partitions")).json()["items"]
    assert [(one["partition"], one["owner"], one["stands_by"], one["stopped"]) for one in items] == [
        (0, "w1", ["w2"], False),
        (1, "w2", [], False),
        (2, "w1", ["w2"], True),
        (3, None, [], False),
    ]


async def test_how_far_predictions_were_off_is_told(world: World) -> None:
    async with world.caller() as by:
        found = (await by.get("/v1/statistics/predictions", params={"horizon": 24})).json()
        assert (found["cases"], found["brier"]) == (0, None)
        assert (await by.get("/v1/statistics/predictions", params={"horizon": 0})).status_code == 422
