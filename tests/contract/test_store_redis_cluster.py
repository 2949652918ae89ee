"""The Redis store in a cluster: its servers fail by themselves, and shards move from one to another."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from agentbus.contracts.errors import StoreRejected, StoreUnavailable
from agentbus.contracts.history import SessionFilter
from agentbus.storage.factory import open_store
from agentbus.storage.redis import RedisStore
from tests.contract.store_inside import held_by
from tests.contract.test_store_redis import answered
from tests.harness.builders import a_commit, a_conversation, a_head
from tests.harness.sampling import on_all_servers
from tests.services import LOOPBACK, LocalRedisCluster

pytestmark = on_all_servers

SHARDS = 6


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalRedisCluster]:
    with LocalRedisCluster() as cluster:
        yield cluster


@pytest.fixture
def url(cluster: LocalRedisCluster) -> Iterator[str]:
    with cluster.fresh_database() as url:
        yield f"{url}&shards={SHARDS}"


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[RedisStore]:
    async with open_store(url) as store:
        assert isinstance(store, RedisStore)
        yield store


def slot_of(client: Any, store: RedisStore, shard: int) -> int:
    return int(client.execute_command("CLUSTER", "KEYSLOT", store._database.layout.key(shard, "index")))


def owner_of(cluster: LocalRedisCluster, slot: int) -> Any:
    """Return the server that has a slot."""
    with cluster.nodes[0].client() as client:
        for first, last, (_, port, *_), *_ in client.execute_command("CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return next(node for node in cluster.nodes if node.port == port)
    raise AssertionError(f"nobody has slot {slot}")


async def test_shards_are_on_several_servers(cluster: LocalRedisCluster, url: str) -> None:
    heads = [a_head(a_conversation(), active=second) for second in range(60)]
    async with opened(url) as store:
        assert await store.log.append([a_commit(head.conversation_id) for head in heads]) == [None] * 60
        await store.heads.save(heads)
        assert list((await store.heads.page(SessionFilter(), limit=60)).items) == heads[::-1]
        assert len(await store.log.conversations(limit=100)) == 60
        with cluster.nodes[0].client() as client:
            owners = {owner_of(cluster, slot_of(client, store, shard)).port for shard in range(SHARDS)}
    assert len(owners) > 1


async def test_server_of_a_cluster_is_not_taken_for_one_alone(cluster: LocalRedisCluster) -> None:
    for node in cluster.nodes:
        with pytest.raises(StoreRejected, match=r"is a server of a cluster: write redis\+cluster://"):
            await open_store(node.url).start()


async def test_shard_that_moves_to_another_server(cluster: LocalRedisCluster, url: str) -> None:
    heads = [a_head(a_conversation(), active=second) for second in range(60)]
    async with opened(url) as store:
        await store.heads.save(heads)
        with cluster.nodes[0].client() as any_client:
            slot = slot_of(any_client, store, 0)
        old = owner_of(cluster, slot)
        new = next(node for node in cluster.nodes if node is not old)
        await asyncio.to_thread(move, cluster, slot, old, new)
        assert owner_of(cluster, slot) is new

        assert list((await store.heads.page(SessionFilter(), limit=60)).items) == heads[::-1]
        commits = [a_commit(head.conversation_id) for head in heads]
        assert await store.log.append(commits) == [None] * 60


def move(cluster: LocalRedisCluster, slot: int, old: Any, new: Any) -> None:
    """Move a slot with its keys."""
    with old.client() as of_old, new.client() as of_new:
        ids = [client.execute_command("CLUSTER", "MYID") for client in (of_old, of_new)]
        of_new.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[0])
        of_old.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[1])
        while keys := of_old.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 100):
            of_old.execute_command("MIGRATE", LOOPBACK, new.port, "", 0, 5000, "KEYS", *keys)
        for node in (new, old, *cluster.nodes):
            with node.client() as client:
                client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", ids[1])


async def test_server_that_is_killed_comes_back_with_what_it_had(cluster: LocalRedisCluster, url: str) -> None:
    heads = [a_head(a_conversation(), active=second) for second in range(30)]
    async with opened(url) as store:
        await store.heads.save(heads)
        await asyncio.to_thread(cluster.nodes[1].kill)
        with pytest.raises(StoreUnavailable):
            await store.heads.page(SessionFilter(), limit=50)
        await asyncio.to_thread(cluster.nodes[1].start)

        page = await answered(lambda: store.heads.page(SessionFilter(), limit=50))
        assert list(page.items) == heads[::-1]
        assert held_by(store) == []


async def test_call_that_is_cancelled_leaves_no_answer_to_the_next(url: str) -> None:
    async with opened(url) as store:
        client = store._database.opened()
        for turns in range(20):
            asking = asyncio.create_task(client.ask("GET", "{0}:nothing"))
            for _ in range(turns):
                await asyncio.sleep(0)
            asking.cancel()
            await asyncio.wait({asking})
            answers = await asyncio.gather(*(client.ask("SETEX", f"{{0}}:{n}", 60, n) for n in range(3)))
            assert answers == [True] * 3
            assert [await client.ask("GET", f"{{0}}:{n}") for n in range(3)] == [b"0", b"1", b"2"]
