"""Workers by HTTP."""

import httpx
import pytest

from agentbus.composition.app import App
from agentbus.contracts.errors import HandBackRefused
from agentbus.contracts.members import WorkerKind
from agentbus.http import Client
from agentbus.operations.api_keys import Role
from tests.harness.api import HERE, World
from tests.harness.builders import a_member


async def test_who_is_at_work_is_listed(world: World) -> None:
    member = a_member("w1", owns=(0, 3))
    await world.app.store.members.heartbeat(WorkerKind.SYNC.group("agentbus"), member, ttl=60)
    async with world.caller() as by:
        [worker] = (await by.get("/v1/workers")).json()["items"]
    assert (worker["kind"], worker["worker_id"], worker["owns"]) == ("sync", "w1", [0, 3])


async def test_a_partition_is_handed_to_another(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world.caller() as by:
        alone = await by.post("/v1/partitions/0/hand-back")
        assert (alone.status_code, alone.json()["code"]) == (409, "hand_back_refused")
        monkeypatch.setattr(App, "alone", False)  # as over RabbitMQ
        for name, owns in (("w1", (0, 1)), ("w2", (2, 3))):
            await world.app.store.members.heartbeat("agentbus", a_member(name, owns=owns), ttl=60)
        answer = await by.post("/v1/partitions/0/hand-back", json={"to": "w2", "seconds": 60})
        assert answer.status_code == 200
        asked = answer.json()
        assert (asked["partition"], asked["owner"], asked["to"]) == (0, "w1", "w2")
        assert (await by.post("/v1/partitions/0/hand-back")).json() == asked
        listed = (await by.get("/v1/partitions")).json()["items"]
        assert [one["hand_back"] for one in listed] == [asked, None, None, None]
        for path, body, status, code in (
            ("/v1/partitions/4/hand-back", None, 404, "partition_not_found"),
            ("/v1/partitions/-1/hand-back", None, 422, "schema_violation"),
            ("/v1/partitions/x/hand-back", None, 422, "schema_violation"),
            ("/v1/partitions/0/hand-back", {"to": "w9"}, 404, "worker_not_found"),
            ("/v1/partitions/0/hand-back", {"seconds": 0}, 422, "schema_violation"),
            ("/v1/partitions/0/hand-back", {"worker": "w2"}, 422, "schema_violation"),
            ("/v1/partitions/0/hand-back", {"to": "w1"}, 409, "hand_back_refused"),
        ):
            answer = await by.post(path, json=body)
            assert (answer.status_code, answer.json()["code"]) == (status, code), (path, body)
    transport = httpx.ASGITransport(world.api.app)
    async with Client(HERE, key=await world.key(Role.OPERATE), transport=transport) as api:
        assert (await api.hand_back(2, to="w1")).to == "w1"
        with pytest.raises(HandBackRefused):
            await api.hand_back(3, to="w2")
