"""Copies follow their source: what is edited or deleted there is so wherever it was copied to, and nowhere else."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

import pytest

from agentbus.contracts.commands import AmendCopy, CloseSession, DeleteMessage, EditMessage, LinkIdentity
from agentbus.contracts.envelope import Input
from agentbus.contracts.events import MessageAppended, MessageDeleted, MessageEdited
from agentbus.contracts.ids import MessageKey, SessionId, conversation_of
from agentbus.contracts.records import RecordKind
from agentbus.contracts.sync import SyncMode
from agentbus.workers.delivery.inputs import Inputs
from tests.sync.test_modes import carry_out_due
from tests.sync.world import PLATFORMS, World

PIN = "my PIN is 1234"


async def copied(world: World, people: int = 2) -> tuple[list[SessionId], MessageKey]:
    """Let a person say something that is copied into their other sessions; return those, and its key."""
    await world.policy(history=True)
    sessions = await world.people(people)
    await world.talk(text=PIN)
    await world.settle()
    assert await told(world, *sessions) == [True] * people
    return sessions, world.messages(sessions[0])[-1].message.key


async def told(world: World, *sessions: SessionId) -> list[bool]:
    """Return for each session whether the message can be read in it."""
    return [PIN in await world.texts(session) for session in sessions]


@pytest.mark.parametrize("seed", [None, 1, 2, 3])
async def test_what_is_deleted_is_deleted_wherever_it_was_copied_to(world: World, seed: int | None) -> None:
    sessions, key = await copied(world, 3)
    await world.ask(DeleteMessage(session_id=sessions[0], target=key))
    await world.settle(seed)
    assert await told(world, *sessions) == [False] * 3
    deletions = [event for event in world.happened.values() if isinstance(event, MessageDeleted)]
    assert sorted(event.source or "" for event in deletions) == ["", sessions[0], sessions[0]], "each told once"


@pytest.mark.parametrize("seed", [None, 4, 5])
async def test_a_message_that_is_deleted_before_it_is_copied_is_read_nowhere(world: World, seed: int | None) -> None:
    await world.policy(history=True)
    first, second = await world.people(2)
    await world.talk(text=PIN)
    key = world.messages(first)[-1].message.key
    await world.ask(DeleteMessage(session_id=first, target=key))
    await world.settle(seed)
    assert await told(world, first, second) == [False, False]


@pytest.mark.parametrize("seed", [None, 6, 7, 8])
async def test_copies_say_what_their_source_says_last(world: World, seed: int | None) -> None:
    sessions, key = await copied(world)
    for text in ("one", "two", "three"):
        await world.ask(EditMessage(session_id=sessions[0], target=key, text=text))
    await world.settle(seed)
    assert [(await world.texts(session))[-1] for session in sessions] == ["three", "three"]


async def test_a_copy_in_a_session_that_is_over_is_deleted_too(world: World) -> None:
    (first, second, third), key = await copied(world, 3)
    await world.reset(second)
    await world.ask(CloseSession(session_id=third))
    await world.settle()
    await world.ask(DeleteMessage(session_id=first, target=key))
    await world.settle()
    assert await told(world, first, second, third) == [False] * 3


@pytest.mark.parametrize("unlinked", [0, 1])
async def test_a_copy_in_what_is_not_linked_any_more_is_deleted_too(world: World, unlinked: int) -> None:
    sessions, key = await copied(world)
    await world.sync.identities.unlink(sessions[unlinked])
    await world.settle()
    await world.policy(history=False)
    await world.ask(DeleteMessage(session_id=sessions[0], target=key))
    await world.settle()
    assert await told(world, *sessions) == [False, False]


async def test_who_deletes_a_copy_leaves_the_message_and_its_other_copies(world: World) -> None:
    (first, second, third), key = await copied(world, 3)
    await world.ask(DeleteMessage(session_id=second, target=key))
    await world.settle()
    assert await told(world, first, second, third) == [True, False, True]


async def test_nobody_changes_a_message_by_calling_it_a_copy(world: World) -> None:
    (first, second), key = await copied(world)
    await world.ask(AmendCopy(session_id=first, source=second, target=key))
    await world.ask(AmendCopy(session_id=first, source=second, target=key, text="forged"))
    await world.ask(AmendCopy(session_id=second, source=second, target=key, text="forged"))
    assert await told(world, first, second) == [True, True]


async def test_what_copies_follow_is_no_activity_and_does_not_wait_for_what_is_blocked(world: World) -> None:
    (first, second), key = await copied(world)
    before = await world.head(second)
    blocked = before.model_copy(update={"blocked_by": "a parked input"})
    await world.store.heads.save([blocked])
    world.worker._live.drop(before.conversation_id)
    world.clock.advance(timedelta(minutes=1))
    await world.ask(DeleteMessage(session_id=first, target=key))
    await world.settle()
    assert await told(world, first, second) == [False, False]
    assert (await world.head(second)).last_activity == before.last_activity


@pytest.mark.parametrize("mode", [SyncMode.DELAYED, SyncMode.BATCH, SyncMode.MANUAL])
async def test_what_waits_to_be_copied_and_is_deleted_is_not_copied(world: World, mode: SyncMode) -> None:
    await world.policy(mode=mode, history=True, interval=60)
    first, second = await world.people(2)
    await world.talk(text=PIN)
    await world.talk(text="stays")
    key = next(one.message.key for one in world.messages(first) if one.message.content.model_dump()["text"] == PIN)
    await world.ask(DeleteMessage(session_id=first, target=key))
    await world.settle()
    world.clock.advance(timedelta(seconds=60))
    await carry_out_due(world)
    if mode is SyncMode.MANUAL:
        await world.sync.on_demand.sync(first)
        await world.settle()
    texts = [one.message.content.model_dump()["text"] for one in world.messages(second)]
    assert "stays" in texts
    assert PIN not in texts


async def test_without_history_an_edit_is_nobody_elses_matter(world: World) -> None:
    first, second = await world.people(2)
    await world.talk(text=PIN)
    key = world.messages(first)[-1].message.key
    await world.ask(EditMessage(session_id=first, target=key, text="new"))
    await world.settle()
    assert [event.session_id for event in world.happened.values() if isinstance(event, MessageEdited)] == [first]
    assert PIN not in await world.texts(second)


async def test_what_a_conversation_was_linked_to_is_noted_however_it_was_linked(world: World) -> None:
    first = await world.talk()
    await world.ask(LinkIdentity(session_id=first, identity="by command"))
    await world.settle()
    assert await world.sync.identities.ever_of(conversation_of(first)) == {"by command"}
    await world.sync.identities.unlink(first)
    await world.sync.identities.link("by call", [first])
    await world.settle()
    assert await world.sync.identities.ever_of(conversation_of(first)) == {"by command", "by call"}
    assert await world.store.records.get(RecordKind.IDENTITY, "by call") is not None


class Overtaken(Inputs):
    """Commands of a sync worker that stands still before it gives its first ones, while somebody else goes on."""

    def __init__(self, world: World, meanwhile: Callable[[], Awaitable[None]]) -> None:
        super().__init__(world.bus)
        self._meanwhile: Callable[[], Awaitable[None]] | None = meanwhile

    async def give(self, commands: Sequence[Input]) -> None:
        """Let the others go on, once, and give the commands."""
        meanwhile, self._meanwhile = self._meanwhile, None
        if meanwhile:
            await meanwhile()
        await super().give(commands)


async def test_an_edit_that_is_overtaken_on_its_way_is_not_what_a_copy_says(world: World) -> None:
    sessions, key = await copied(world)
    await world.ask(EditMessage(session_id=sessions[0], target=key, text="one"))
    await world.quiet()
    (edited,) = world.waiting
    world.waiting = []

    async def edit_again() -> None:
        world.restarted()
        await world.ask(EditMessage(session_id=sessions[0], target=key, text="two"))
        await world.settle()
        assert (await world.texts(sessions[1]))[-1] == "two"

    world.restarted(Overtaken(world, edit_again))
    await world.sync.handler.handle(edited)
    await world.settle()
    assert [(await world.texts(session))[-1] for session in sessions] == ["two", "two"]


@pytest.mark.parametrize("change", ["deleted", "edited"])
@pytest.mark.parametrize("by", ["event", "demand"])
async def test_who_is_given_a_message_after_it_was_changed_is_given_it_as_it_reads(
    world: World, change: str, by: str
) -> None:
    """What became of it was told to those that were linked then."""
    await world.policy(history=True)
    first, second = await world.people(2)
    await world.talk(text=PIN)
    said = [event for event in world.waiting if isinstance(event.data, MessageAppended)]
    key = world.messages(first)[-1].message.key
    await world.settle()
    changed = EditMessage(session_id=first, target=key, text="new")
    await world.ask(DeleteMessage(session_id=first, target=key) if change == "deleted" else changed)
    await world.settle()
    third = await world.talk(PLATFORMS[2])
    await world.sync.identities.link("ann", [first, third])
    await world.settle()

    if by == "event":  # comes again, long after
        world.waiting += said
    else:
        await world.sync.on_demand.sync(first)
    await world.settle()

    assert await told(world, first, second, third) == [False] * 3
    if by == "event" and change == "edited":
        assert "new" in await world.texts(third)
