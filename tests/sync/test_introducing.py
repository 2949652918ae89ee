"""A newcomer is introduced once, whoever leaves meanwhile, and wherever the worker is killed: those who stay agree."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any, Final
from unittest.mock import patch

import pytest

from agentbus.contracts.commands import CloseSession, CommandReply, DeleteSession, LinkIdentity
from agentbus.contracts.envelope import EventEnvelope, Input
from agentbus.contracts.events import IdentityLinked, SessionStarted
from agentbus.contracts.ids import SessionId
from agentbus.contracts.session import SessionState
from agentbus.contracts.sync import SyncMode
from agentbus.storage.port import Store
from agentbus.workers.delivery.inputs import Inputs
from agentbus.workers.sync import meeting
from agentbus.workers.sync.members import live_members
from tests.sync.test_modes import carry_out_due
from tests.sync.world import PLATFORMS, Killed, World, a_world

INTERVAL: Final = 60.0
"""Seconds: what is written waits for so long, and an introduction tells of it before."""

Happens = Callable[[World, list[SessionId]], Awaitable[object]]
"""What happens to the sessions that are linked, of which the last is the newcomer."""


class Moments(Inputs):
    """Commands of a worker whose moments are counted: before each command and after, and after a look at who is there.

    At the moment `at` something happens, at the moment `dies` the worker is killed.
    """

    def __init__(self, world: World, happens: Callable[[], Awaitable[object]], at: int, dies: int) -> None:
        super().__init__(world.bus)
        self._happens = happens
        self._at = at
        self._dies = dies
        self.passed = 0

    async def give(self, inputs: Sequence[Input]) -> None:
        for one in inputs:
            await self._pass_by()
            await super().give([one])
        await self._pass_by()

    async def ask(self, given: Input, **how: Any) -> CommandReply:
        await self._pass_by()
        return await super().ask(given, **how)

    async def look(self, store: Store, identity: str) -> list[SessionState]:
        found = await live_members(store, identity)
        await self._pass_by()
        return found

    async def _pass_by(self) -> None:
        self.passed += 1
        number = self.passed
        if number == self._at:
            await self._happens()
        if number == self._dies:
            raise Killed


async def unlinks(world: World, sessions: list[SessionId]) -> None:
    await world.sync.identities.unlink(sessions[0])


async def is_deleted(world: World, sessions: list[SessionId]) -> None:
    await world.ask(DeleteSession(session_id=sessions[0]))


async def newcomer_ends(world: World, sessions: list[SessionId]) -> None:
    await world.ask(CloseSession(session_id=sessions[-1]))


async def newcomer_unlinks(world: World, sessions: list[SessionId]) -> None:
    await world.sync.identities.unlink(sessions[-1])


async def newcomer_is_reset(world: World, sessions: list[SessionId]) -> None:
    await world.reset(sessions[-1])


async def linked(world: World, sessions: list[SessionId]) -> EventEnvelope:
    """Link somebody who had written before; return what tells of it, which nobody has heard yet."""
    sessions.append(await world.talk(PLATFORMS[2]))
    await world.write(sessions[-1], city="Paris")
    await world.settle()
    await world.ask(LinkIdentity(session_id=sessions[-1], identity="ann"))
    return await _heard_next(world, IdentityLinked)


async def begun_anew(world: World, sessions: list[SessionId]) -> EventEnvelope:
    """Begin a session of somebody who is linked, and write in it; return what tells of its beginning."""
    sessions.append(await world.talk(PLATFORMS[2]))
    await world.sync.identities.link("ann", sessions)
    await world.settle()
    sessions.append(await world.reset(sessions.pop()))
    await world.write(sessions[-1], city="Paris")
    return await _heard_next(world, SessionStarted)


async def _heard_next(world: World, kind: type[IdentityLinked | SessionStarted]) -> EventEnvelope:
    await world.quiet()
    (event,) = (one for one in world.waiting if isinstance(one.data, kind))
    world.waiting.remove(event)
    return event


async def _introduced(
    newcomer: Callable[[World, list[SessionId]], Awaitable[EventEnvelope]], happens: Happens, at: int, dies: int
) -> tuple[int, list[dict[str, Any]]]:
    """Introduce somebody; return how many moments that had, and what those who are there in the end hold."""
    async with a_world() as world:
        await world.policy(mode=SyncMode.BATCH, interval=INTERVAL)
        sessions = await world.people(2)
        await world.write(sessions[0], card=1)
        event = await newcomer(world, sessions)

        async def happening() -> None:
            """Have it happen; the other workers hear of it at once, and are through with it."""
            world.restarted()
            with patch.object(meeting, "live_members", live_members):
                await happens(world, sessions)
                await world.settle()

        moments = Moments(world, happening, at, dies)
        world.restarted(moments)
        with patch.object(meeting, "live_members", moments.look):
            try:
                await world.sync.handler.handle(event)
            except Killed:
                world.waiting.insert(0, event)
        world.restarted()
        await world.settle()
        world.clock.advance(timedelta(seconds=INTERVAL))
        await carry_out_due(world)
        await world.settle()
        return moments.passed, [one.data for one in await live_members(world.store, "ann")]


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("newcomer", "happens"),
    [
        (linked, unlinks),
        (linked, is_deleted),
        (linked, newcomer_ends),
        (linked, newcomer_unlinks),
        (begun_anew, unlinks),
        (begun_anew, newcomer_is_reset),
    ],
)
async def test_whoever_leaves_as_somebody_is_introduced_those_who_stay_agree(
    newcomer: Callable[[World, list[SessionId]], Awaitable[EventEnvelope]], happens: Happens
) -> None:
    moments, held = await _introduced(newcomer, happens, 0, 0)
    assert held == [{"card": 1, "city": "Paris"}] * len(held)
    assert moments >= 8
    differing: list[str] = []
    for at in range(1, moments + 1):
        for dies in sorted({0, at, at + 1, moments}):
            _, held = await _introduced(newcomer, happens, at, dies)
            if any(one != held[0] for one in held):
                differing.append(f"at moment {at} of {moments}, killed at {dies}: {held}")
    assert differing == []
