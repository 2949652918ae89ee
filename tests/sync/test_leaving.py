"""Who leaves an identity, or is gone, stops passing on what was written; those who stay agree on what they got."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

import pytest

from agentbus.contracts.commands import CloseSession, DeleteSession
from agentbus.contracts.envelope import Input
from agentbus.contracts.events import AnyEvent, IdentityLinked, IdentityUnlinked
from agentbus.contracts.ids import SessionId
from agentbus.contracts.sync import ConflictStrategy, SyncMode
from agentbus.workers.delivery.inputs import Inputs
from tests.sync.test_modes import carry_out_due
from tests.sync.world import PLATFORMS, Killed, World

CARD = {"card": 1}


class _Once(Inputs):
    """Commands of a worker to which something happens the first time that it gives some."""

    def __init__(self, world: World, happens: Callable[[Sequence[Input]], Awaitable[None]]) -> None:
        super().__init__(world.bus)
        self._happens: Callable[[Sequence[Input]], Awaitable[None]] | None = happens

    async def give(self, commands: Sequence[Input]) -> None:
        happens, self._happens = self._happens, None
        if happens is not None:
            await happens(commands)
        await super().give(commands)


async def _one_more(world: World) -> SessionId:
    """Link a third session, which gets the contexts of the two; return it."""
    third = await world.talk(PLATFORMS[2])
    await world.sync.identities.link("ann", [third])
    await world.settle()
    return third


async def _handle(world: World, kind: type[AnyEvent], session: SessionId) -> None:
    """Hand one of the waiting events to the worker before the others."""
    event = next(one for one in world.waiting if isinstance(one.data, kind) and one.data.session_id == session)
    world.waiting.remove(event)
    await world.sync.handler.handle(event)
    await world.quiet()


@pytest.mark.parametrize("strategy", [one for one in ConflictStrategy if one is not ConflictStrategy.MANUAL])
async def test_what_a_newcomer_got_of_who_left_the_others_get_as_well(world: World, strategy: ConflictStrategy) -> None:
    await world.policy(mode=SyncMode.BATCH, interval=60, strategy=strategy)
    first, second = await world.people(2)
    await world.write(first, card=1)
    await world.settle()
    third = await _one_more(world)
    assert await world.data(second, third) == [{}, CARD]
    await world.sync.identities.unlink(first)
    await world.write(first, secret=2)
    await world.settle()
    world.clock.advance(timedelta(seconds=60))
    await carry_out_due(world)
    assert await world.data(second, third) == [CARD, CARD]


async def test_a_change_that_one_got_before_its_writer_left_all_get(world: World) -> None:
    first, second, third = await world.people(3)
    await world.write(first, card=1)

    async def killed(commands: Sequence[Input]) -> None:
        await world.commands.give(commands[:1])
        raise Killed

    await world.quiet()
    (event,) = world.waiting
    world.restarted(_Once(world, killed))
    with pytest.raises(Killed):
        await world.sync.handler.handle(event)
    await world.sync.identities.unlink(first)
    world.restarted()
    await world.settle()
    assert await world.data(second, third) == [CARD, CARD]


async def test_a_change_that_is_given_as_its_writer_leaves_all_get_or_none(world: World) -> None:
    """The leaving is handled before the one command that was still to be given."""
    first, second, third = await world.people(3)
    await world.write(first, card=1)

    async def leaves(commands: Sequence[Input]) -> None:
        await world.sync.identities.unlink(first)
        await world.quiet()
        await _handle(world, IdentityUnlinked, first)
        await world.commands.give(commands[:1])
        raise Killed

    await world.quiet()
    (event,) = world.waiting
    world.restarted(_Once(world, leaves))
    with pytest.raises(Killed):
        await world.sync.handler.handle(event)
    world.restarted()
    await world.settle()
    assert await world.data(second, third) == [CARD, CARD]


async def test_a_context_that_is_copied_as_its_session_leaves_all_get(world: World) -> None:
    """The leaving is handled before a newcomer gets what was read of the session."""
    await world.policy(mode=SyncMode.BATCH, interval=60)
    first, second = await world.people(2)
    await world.write(first, card=1)
    await world.settle()

    async def leaves(_: Sequence[Input]) -> None:
        await world.sync.identities.unlink(first)
        await world.quiet()
        await _handle(world, IdentityUnlinked, first)

    world.restarted(_Once(world, leaves))
    third = await _one_more(world)
    assert await world.data(second, third) == [CARD, CARD]


async def test_what_a_newcomer_got_of_who_is_deleted_the_others_get_as_well(world: World) -> None:
    await world.policy(mode=SyncMode.BATCH, interval=60)
    first, second = await world.people(2)
    await world.write(first, card=1)
    await world.settle()
    third = await _one_more(world)
    await world.ask(DeleteSession(session_id=first))
    await world.settle()
    world.clock.advance(timedelta(seconds=60))
    await carry_out_due(world)
    assert await world.data(second, third) == [CARD, CARD]


async def test_who_ends_before_they_were_introduced_may_have_told_a_newcomer(world: World) -> None:
    first, second = await world.people(2)
    third = await world.talk(PLATFORMS[2])
    await world.write(third, card=1)
    await world.settle()
    fourth = await world.talk(PLATFORMS[3])
    await world.sync.identities.link("ann", [third, fourth])
    await world.quiet()
    await _handle(world, IdentityLinked, fourth)
    await world.ask(CloseSession(session_id=third))
    await world.settle()
    assert await world.data(first, second, fourth) == [CARD] * 3


async def test_who_stays_alone_is_told_nothing(world: World) -> None:
    await world.policy(mode=SyncMode.BATCH, interval=60)
    first, second = await world.people(2)
    await world.write(first, card=1)
    await world.settle()
    before = world.counts()["context_merged"]
    await world.sync.identities.unlink(first)
    await world.settle()
    world.clock.advance(timedelta(seconds=60))
    await carry_out_due(world)
    assert await world.data(second) == [{}]
    assert world.counts()["context_merged"] == before
