"""Workers by HTTP."""

from agentbus.contracts.members import WorkerKind
from tests.harness.api import World
from tests.harness.builders import a_member


async def test_who_is_at_work_is_listed(world: World) -> None:
    member = a_member("w1", owns=(0, 3))
    await world.app.store.members.heartbeat(WorkerKind.SYNC.group("agentbus"), member, ttl=60)
    async with world.caller() as by:
        [worker] = (await by.get("/v1/workers")).json()["items"]
    assert (worker["kind"], worker["worker_id"], worker["owns"]) == ("sync", "w1", [0, 3])
