"""What users do all day: one call after the other, chosen by chance, until the time is over."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final

from agentbus.sessions import Message, Permission, session_context
from tests.stress.acts import (
    check_read,
    checkpoint,
    count,
    count_locked,
    discuss,
    intrude,
    look,
    next_count,
    say,
    write_late,
)
from tests.stress.caller import Caller, as_text
from tests.stress.model import Effect, Right, SessionModel
from tests.stress.world import Slot, World, create, delete, let_in, set_public, share

PAUSE: Final = 0.25
"""Seconds between a user's calls, on average."""

Act = Callable[[Caller, SessionModel], Awaitable[None]]

_ACTS: Final[dict[Act, int]] = {
    say: 8,
    count: 5,
    partial(count, what="metadata"): 2,
    discuss: 3,
    count_locked: 2,
    write_late: 2,
    checkpoint: 2,
    look: 6,
    intrude: 2,
}
_REST: Final = 1
"""The weight of what concerns sessions of one's own."""


async def guest_life(caller: Caller, world: World, slots: Sequence[Slot], until: float) -> None:
    """Use some sessions more often than the others; sometimes one that was deleted, sometimes one of one's own."""
    weights = [*_ACTS.values(), _REST]
    while await _another(caller, until):
        act = caller.random.choices([*_ACTS, None], weights)[0]
        if act is None:
            await _scratch(caller, world)
            continue
        slot = caller.random.choice(slots if caller.random.random() < 0.9 else world.slots)
        gone = [one for one in world.sessions[-50:] if not one.access.exists]
        if gone and caller.random.random() < 0.05:
            await act(caller, caller.random.choice(gone))
        else:
            await act(caller, slot.session)


async def owner_life(caller: Caller, world: World, slots: Sequence[Slot], others: Sequence[str], until: float) -> None:
    """Use one's sessions, let others in and send them away, and begin anew now and then."""
    while await _another(caller, until):
        slot = caller.random.choice(slots)
        match caller.random.choices(["act", "share", "public", "chat", "list", "renew"], [8, 6, 1, 3, 2, 0.5])[0]:
            case "act":
                act = caller.random.choices(list(_ACTS), list(_ACTS.values()))[0]
                await act(caller, slot.session)
            case "share":
                guest = caller.random.choice([*others, *slot.guests])
                shared = slot.session.access.shares.get(guest)
                given = None if shared else caller.random.choice(list(Permission))
                await share(caller, slot.session, guest, given)
            case "public" if slot.public:
                await set_public(caller, slot.session, public=not slot.session.access.public)
            case "chat" if slot.chat_id:
                await _chat(caller, slot.session, slot.chat_id)
            case "list":
                await _list(caller, world)
            case "renew":
                await _renew(caller, world, slot)


async def _another(caller: Caller, until: float) -> bool:
    """Pause, then say whether there is time for another call."""
    await asyncio.sleep(caller.random.expovariate(1 / PAUSE))
    return caller.ledger.now() < until


async def _chat(caller: Caller, session: SessionModel, chat_id: str) -> None:
    """Work on the session of a chat in a block: what it changes is saved together, once."""
    name, effects = f"count-{caller.user}", list[Effect]()

    async def attempt() -> None:
        async with session_context(caller.manager, chat_id=chat_id, user_id=caller.user, platform="api") as context:
            if context.session_id != session.session_id:
                caller.ledger.breach("another session in the chat", f"{context.session_id}, not {session.session_id}")
            found = context.get_data(name)
            check_read(caller, session, "data", name, found)
            message = Message(content="hello", user_id=caller.user, id=caller.unique())
            context.add_message(message)
            context.set_data(name, value := next_count(caller, found))
            effects.append(session.began(("message", message.id), caller.user))
            effects.append(session.began(("data", name, as_text(value)), caller.user))

    await caller.call("session_context", session, Right.OWN, attempt, effects=effects, once=True, as_application=True)


async def _list(caller: Caller, world: World) -> None:
    expected = world.owned_by(caller.user)
    page = await caller.call_unchecked(
        "list_sessions", lambda: caller.manager.list_user_sessions(caller.user, limit=100)
    )
    found = {one.session_id for one in page.items} if page else expected
    if found != expected:
        caller.ledger.breach("list is wrong", f"{caller.user}: {sorted(found ^ expected)}")


async def _renew(caller: Caller, world: World, slot: Slot) -> None:
    """Delete a session; another one takes its place."""
    await delete(caller, slot.session)
    await look(caller, slot.session)
    if created := await create(world, caller, slot.chat_id):
        slot.session = created
        await let_in(caller, slot)


async def _scratch(caller: Caller, world: World) -> None:
    """Create a session, use it, and delete it."""
    if session := await create(world, caller, None):
        await say(caller, session)
        await count(caller, session)
        await _list(caller, world)
        await delete(caller, session)
        await look(caller, session)
