"""Heads in MongoDB that are read at once, and durable once they are flushed: the server is killed in between."""

from collections.abc import Iterator
from typing import get_args

import pytest

from agentbus.contracts.session import SessionState
from agentbus.storage.factory import open_store
from agentbus.storage.mongo.heads import _FLUSHED
from agentbus.storage.port import MongoDriver
from tests.harness.builders import a_conversation, a_head
from tests.services import LocalMongoDB, form_replica_set


@pytest.fixture(params=["alone", "replica_set"])
def server(request: pytest.FixtureRequest) -> Iterator[tuple[LocalMongoDB, str]]:
    """Give a server of one's own, alone or as the only member of its set, and its URL."""
    alone = request.param == "alone"
    with LocalMongoDB(replica_set=None if alone else "flush") as server:
        yield server, server.url if alone else form_replica_set(server)


async def written(url: str, heads: list[SessionState], *, flush: bool, driver: MongoDriver = "pymongo") -> None:
    """Write heads, and flush them if asked to."""
    async with open_store(url, mongo_driver=driver) as store:
        assert store.heads.flushes
        assert await store.heads.write(heads) == [None] * len(heads)
        assert await store.heads.get(heads[0].session_id) == heads[0]
        if flush:
            await store.heads.flush(heads)


async def kept(url: str, heads: list[SessionState]) -> int:
    """Return how many of these heads there are."""
    async with open_store(url) as store:
        return len(await store.heads.get_many([head.session_id for head in heads]))


@pytest.mark.parametrize("driver", get_args(MongoDriver))
async def test_what_is_flushed_survives_a_killed_server(server: tuple[LocalMongoDB, str], driver: MongoDriver) -> None:
    mongod, url = server
    heads = [a_head(a_conversation()) for _ in range(_FLUSHED + 1)]
    await written(url, heads, flush=True, driver=driver)

    mongod.kill()
    mongod.start()

    assert await kept(url, heads) == len(heads)


async def test_what_a_killed_server_lost_is_saved_again_by_the_flush(server: tuple[LocalMongoDB, str]) -> None:
    mongod, url = server
    for _ in range(5):  # A flush of the journal by the server's own clock may come first.
        heads = [a_head(a_conversation()) for _ in range(3)]
        async with open_store(url) as store:
            await store.heads.write(heads)
            mongod.kill()
            mongod.start()
            if lost := len(heads) - await kept(url, heads):
                break
    assert lost, "nothing was lost five times: is what is written not waited for the journal?"

    await written(url, heads[:1], flush=False)  # Another writer has one of them back; the others are still lost.
    async with open_store(url) as store:
        await store.heads.flush(heads)
    mongod.kill()
    mongod.start()

    assert await kept(url, heads) == len(heads)


@pytest.mark.parametrize("asked", ["readPreference=secondaryPreferred", "readConcernLevel=majority"])
async def test_who_reads_what_is_durable_or_elsewhere_writes_durably(mongo_url: str, asked: str) -> None:
    head = a_head(a_conversation())
    async with open_store(f"{mongo_url}{'&' if '?' in mongo_url else '?'}{asked}") as store:
        assert not store.heads.flushes
        assert await store.heads.write([head]) == [None]
        await store.heads.flush([head])
        assert await store.heads.get(head.session_id) == head
