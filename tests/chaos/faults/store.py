"""The store fails."""

import asyncio
import time
from typing import Any

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from tests.chaos.faults.fault import Fault
from tests.chaos.system.arena import Arena, Injection, Layout
from tests.harness.system.backends import Kind
from tests.services import LocalMongoDB, MongoDB

_STEP_DOWN_SECONDS = 5


async def kill_store(arena: Arena) -> Injection:
    """SIGKILL the store and start it again."""
    await asyncio.to_thread(arena.backends.store.kill)
    await asyncio.to_thread(arena.backends.store.start)
    return Injection(time.monotonic())


async def step_down(arena: Arena) -> Injection:
    """Make the primary step down: writes fail until another one is elected."""
    primary = await _primary(arena)
    at = time.monotonic()
    await asyncio.to_thread(_step_down, primary)
    return Injection(at)


async def kill_primary(arena: Arena) -> Injection:
    """SIGKILL the primary, and start it again once another one was elected."""
    primary = await _primary(arena)
    at = time.monotonic()
    await asyncio.to_thread(primary.kill)
    await _primary(arena)
    await asyncio.to_thread(primary.start)
    return Injection(at)


async def _primary(arena: Arena) -> MongoDB:
    async with asyncio.timeout(60):
        while True:
            for member in arena.backends.stores:
                assert isinstance(member, LocalMongoDB)
                if member.running and ((await asyncio.to_thread(member.hello)) or {}).get("isWritablePrimary"):
                    return member
            await asyncio.sleep(0.05)


def _step_down(primary: MongoDB) -> None:
    with MongoClient[dict[str, Any]](primary.url) as client:
        try:
            client.admin.command("replSetStepDown", _STEP_DOWN_SECONDS, force=True)
        except PyMongoError:
            return  # it closes connections when it steps down


_REPLICA_SET = Layout(kind=Kind.REPLICA_SET)

STORE = (
    Fault(name="store_kill", inject=kill_store, counted_from="the store's return"),
    Fault(name="store_step_down", inject=step_down, layout=_REPLICA_SET, rest=6.0),
    Fault(name="store_primary_kill", inject=kill_primary, layout=_REPLICA_SET, rest=3.0),
)
