"""Members not seen for 100 times their ttl are forgotten: by the next heartbeat, in MongoDB by the server."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from agentbus.storage.factory import open_store
from tests.contract.store_inside import age_heartbeat
from tests.harness.builders import a_member

ENDLESS = float("inf")
TTL = 10.0


@pytest.mark.parametrize("kind", ["memory", "sqlite", "redis"])
async def test_next_heartbeat_forgets(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    urls = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path}/store.db"}
    async with open_store(urls.get(kind) or request.getfixturevalue("redis_url")) as store:
        for group, name, age in (("one", "gone", 1010), ("one", "old", 990), ("other", "gone", 1010)):
            await store.members.heartbeat(group, a_member(name), ttl=TTL)
            await age_heartbeat(store, group, name, age)

        await store.members.heartbeat("one", a_member("me"), ttl=TTL)

        assert [member.worker_id for member in await store.members.live("one", ttl=ENDLESS)] == ["me", "old"]
        assert [member.worker_id for member in await store.members.live("other", ttl=ENDLESS)] == ["gone"]


async def test_mongo_is_told_when_to_forget(mongo_url: str) -> None:
    client: MongoClient[dict[str, Any]] = MongoClient(mongo_url, tz_aware=True)
    async with open_store(mongo_url) as store:
        await store.members.heartbeat("one", a_member(), ttl=TTL)

        with client:
            members = client.get_default_database()["members"]
            document = members.find_one()
            [expiry] = [index for index in members.list_indexes() if "expireAfterSeconds" in index]

    assert document is not None
    assert document["expires_at"] - document["seen_at"] == timedelta(seconds=100 * TTL)
    assert (dict(expiry["key"]), expiry["expireAfterSeconds"]) == ({"expires_at": 1}, 0)
