"""`agentbus identity` and `agentbus sync` with sync workers as processes of their own."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from agentbus.client import AgentBus, connect
from agentbus.contracts.address import Address, Platform
from agentbus.contracts.commands import SetData
from agentbus.contracts.ids import SessionId, session_id_for
from agentbus.contracts.messages import InboundMessage, TextContent
from agentbus.storage.factory import open_store
from agentbus.storage.history import history_page
from agentbus.storage.port import Store
from tests.e2e.conftest import PARTITIONS, Distributed
from tests.harness.patience import PATIENCE
from tests.harness.processes import Program, agentbus


@pytest.fixture
def sync_workers(distributed: Distributed) -> Iterator[list[Program]]:
    """Start two sync workers, to share the work."""
    workers = [distributed.worker("sync") for _ in range(2)]
    yield [next(worker) for worker in workers]
    for worker in workers:
        next(worker, None)


async def until(happened: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await happened():
            await asyncio.sleep(0.1)


async def say(bus: AgentBus, platform: Platform, text: str) -> SessionId:
    """Let Ann say something on a channel; return her first session there."""
    address = Address(platform=platform, chat="chat", user="ann")
    said = InboundMessage(address=address, message_id=text, sent_at=datetime.now(UTC), content=TextContent(text=text))
    return session_id_for((await bus.publish(said)).conversation_id, 1)


async def holds(store: Store, city: str, *sessions: SessionId) -> bool:
    heads = await store.heads.get_many(sessions)
    return [heads[one].data if one in heads else None for one in sessions] == [{"city": city}] * len(sessions)


@pytest.mark.timeout(900)  # a dozen commands, each a process of its own
@pytest.mark.usefixtures("session_worker")
async def test_a_person_on_two_channels(distributed: Distributed, sync_workers: list[Program]) -> None:
    async def call(*arguments: str) -> Any:
        done = await asyncio.to_thread(agentbus, *arguments, "--json", env=distributed.env)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    async def write(session: SessionId, city: str) -> None:
        await bus.send(SetData(session_id=session, values={"city": city}), timeout=30)

    async with (
        connect(distributed.amqp_url, partitions=int(PARTITIONS)) as bus,
        open_store(distributed.store_url) as store,
    ):
        first = await say(bus, Platform.TELEGRAM, "hello")
        await write(first, "Paris")
        code = (await call("identity", "code", first))["code"]
        second = await say(bus, Platform.SLACK, f"/link {code}")
        await until(lambda: holds(store, "Paris", first, second))
        identity = await call("identity", "show", "--session", second)
        assert set(identity["session_ids"]) == {first, second}
        head = await store.heads.get(second)
        assert head is not None
        answer = (await history_page(store, head)).items[-1].message
        assert (answer.role, answer.address and answer.address.platform) == ("assistant", Platform.SLACK)

        sync_workers[0].kill()
        await write(second, "Rome")
        await until(lambda: holds(store, "Rome", first, second))
        key = identity["identity_key"]
        assert (await call("identity", "link", key, first, "--name", "Ann"))["display_name"] == "Ann"
        notes = (await call("sync", "history", "--identity", key))["items"]
        assert [note["action"] for note in notes].count("identity_linked") == 2
        assert (notes[0]["action"], notes[0]["session_id"], notes[0]["source"]) == ("context_merged", first, second)

        await call("sync", "policy", "--mode", "manual", "--strategy", "manual")
        await asyncio.sleep(1.5)  # a worker goes by what it read for a second
        await write(first, "Oslo")
        await write(second, "Bern")
        report = await call("sync", "run", first)
        assert report["sessions"] == [{"session_id": second, "changed": False, "conflicts": 1, "error": None}]
        conflicts = (await call("sync", "conflicts"))["items"]
        assert [(one["session_id"], one["field"]) for one in conflicts] == [(second, "/data/city")]
        resolved = (await call("sync", "resolve", second, "--take", "offered"))["resolved"]
        assert [one["offered"]["value"] for one in resolved] == ["Oslo"]
        await until(lambda: holds(store, "Oslo", first, second))

        unlinked = await asyncio.to_thread(agentbus, "identity", "unlink", second, env=distributed.env)
        assert "no longer" in unlinked.stdout
        assert (await call("sync", "run", second))["identity"] is None
    assert sync_workers[1].stop() == 0
