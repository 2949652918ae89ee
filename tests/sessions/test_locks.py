"""Locks of sessions."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable

import pytest

from agentbus.contracts.errors import StoreRejected, StoreUnavailable
from agentbus.sessions import (
    AccessDenied,
    LimitExceeded,
    LockLost,
    LockTimeout,
    Message,
    SessionNotFound,
    SessionSystem,
)
from agentbus.sessions.sections.tokens import LockTokens


async def test_one_holder_at_a_time(any_system: SessionSystem) -> None:
    session = await any_system.create_session("chat", "ann", "web", custom_data={"count": 0})
    inside = 0

    async def work() -> None:
        nonlocal inside
        async with any_system.lock(session.session_id, timeout=30) as token:
            inside += 1
            assert inside == 1
            context = await any_system.get_session(session.session_id)
            assert context is not None
            context.set_data("count", context.get_data("count") + 1)
            await any_system.update_session(context, on_conflict="overwrite", fence=token)
            inside -= 1

    await asyncio.gather(*(work() for _ in range(8)))

    kept = await any_system.get_session(session.session_id)
    assert kept is not None
    assert kept.data == {"count": 8}


async def test_waiting_ends_when_the_lock_is_free(system: SessionSystem) -> None:
    session = await system.create_session("chat", "ann", "web")
    first = await system.acquire_lock(session.session_id)
    waiting = asyncio.create_task(system.acquire_lock(session.session_id, timeout=10))
    await asyncio.sleep(0.02)
    assert not waiting.done()

    assert await system.release_lock(session.session_id, first)
    second = await waiting

    assert second > first
    assert not await system.release_lock(session.session_id, first)
    assert await system.release_lock(session.session_id, second)


async def test_waiting_has_a_deadline(system: SessionSystem) -> None:
    session = await system.create_session("chat", "ann", "web")
    await system.acquire_lock(session.session_id)

    for timeout in (0, 0.03):
        with pytest.raises(LockTimeout, match=f"{timeout:g} s"):
            await system.acquire_lock(session.session_id, timeout=timeout)


async def test_a_lease_that_is_not_renewed_ends(system: SessionSystem) -> None:
    session = await system.create_session("chat", "ann", "web")
    first = await system.acquire_lock(session.session_id, lease=0.02)

    second = await system.acquire_lock(session.session_id, timeout=5)

    assert second > first
    assert not await system.renew_lock(session.session_id, first)
    assert await system.renew_lock(session.session_id, second)


async def test_it_is_renewed_for_as_long_as_the_body_takes(system: SessionSystem) -> None:
    session = await system.create_session("chat", "ann", "web")

    async with system.lock(session.session_id, lease=3):
        for _ in range(5):
            await asyncio.sleep(0.7)
            with pytest.raises(LockTimeout):
                await system.acquire_lock(session.session_id, timeout=0)

    assert await system.acquire_lock(session.session_id, timeout=0)


async def test_a_lock_that_was_lost_is_reported(system: SessionSystem) -> None:
    session = await system.create_session("chat", "ann", "web")

    async def work() -> None:
        async with system.lock(session.session_id, lease=60) as token:
            assert await system.release_lock(session.session_id, token)
            await system.acquire_lock(session.session_id)

    with pytest.raises(LockLost, match="lease of 60 s"):
        await work()


async def test_it_is_released_when_the_body_raises(system: SessionSystem) -> None:
    session = await system.create_session("chat", "ann", "web")

    with pytest.raises(ZeroDivisionError):
        async with system.lock(session.session_id):
            _ = 1 / 0

    assert await system.acquire_lock(session.session_id, timeout=0)


async def test_it_is_released_when_the_body_is_cancelled(system: SessionSystem) -> None:
    session = await system.create_session("chat", "ann", "web")
    inside = asyncio.Event()

    async def work() -> None:
        async with system.lock(session.session_id):
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert await system.acquire_lock(session.session_id, timeout=0)


@pytest.mark.parametrize("error", [StoreUnavailable(), StoreRejected()])
async def test_a_renewal_that_fails_does_not_fail_the_body(
    system: SessionSystem, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    session = await system.create_session("chat", "ann", "web")
    tried = asyncio.Event()

    async def fail(*_: object, **__: object) -> None:
        tried.set()
        raise error

    monkeypatch.setattr(system._store.locks, "renew", fail)
    async with system.lock(session.session_id, lease=0.1):
        await tried.wait()

    assert await system.acquire_lock(session.session_id, timeout=0)


async def test_a_stale_token_writes_nothing(any_system: SessionSystem) -> None:
    created = await any_system.create_session("chat", "ann", "web")
    stale = await any_system.acquire_lock(created.session_id, lease=0.02)
    old = await any_system.get_session(created.session_id)
    fresh = await any_system.acquire_lock(created.session_id, timeout=5)
    new = await any_system.get_session(created.session_id)
    assert old is not None
    assert new is not None
    new.set_data("by", "fresh")
    await any_system.update_session(new, fence=fresh)

    old.set_data("also", "stale")
    with pytest.raises(LockLost):
        await any_system.update_session(old, fence=stale)

    kept = await any_system.get_session(created.session_id)
    assert kept is not None
    assert kept.data == {"by": "fresh"}


async def test_a_lock_needs_a_session_that_the_user_may_change(system: SessionSystem) -> None:
    session = await system.create_session("chat", "ann", "web")

    with pytest.raises(SessionNotFound):
        await system.acquire_lock("missing")
    with pytest.raises(AccessDenied):
        await system.acquire_lock(session.session_id, user_id="eve")
    with pytest.raises(ValueError, match="ttl"):
        await system.acquire_lock(session.session_id, lease=0)
    assert not await system.release_lock("missing\x00" + "a" * 300, 1)


async def test_a_token_that_was_never_given_out_locks_nobody_out(any_system: SessionSystem) -> None:
    created = await any_system.create_session("chat", "ann", "web")
    session_id = created.session_id
    other = await any_system.create_session("other", "ann", "web")
    elsewhere = await any_system.acquire_lock(other.session_id)
    await any_system.share_session(session_id, "ann", "bob", "write")
    theirs = await any_system.get_session(session_id, user_id="bob")
    assert theirs is not None
    theirs.set_data("by", "bob")

    for fence in (2**63 - 1, 2**62, 1, elsewhere):
        with pytest.raises(LockLost, match="never given out"):
            await any_system.update_session(theirs, user_id="bob", fence=fence)
        with pytest.raises(LockLost, match="never given out"):
            await any_system.add_message_to_session(session_id, Message(content="x"), user_id="bob", fence=fence)

    async with any_system.lock(session_id, user_id="ann") as token:
        created.set_data("by", "ann")
        await any_system.update_session(created, user_id="ann", fence=token)
    kept = await any_system.get_session(session_id)
    assert kept is not None
    assert kept.data == {"by": "ann"}


async def test_nobody_comes_upon_anothers_token_by_counting(any_system: SessionSystem) -> None:
    session_id = (await any_system.create_session("chat", "ann", "web")).session_id
    first = await any_system.acquire_lock(session_id)
    assert await any_system.release_lock(session_id, first)
    second = await any_system.acquire_lock(session_id)

    assert first < second < 2**63
    for guess in (1, 2, 3, first, first + 1, second + 1, second - 1, 0, -1, 2**63):
        assert not await any_system.release_lock(session_id, guess)
        assert not await any_system.renew_lock(session_id, guess)
    with pytest.raises(LockTimeout):
        await any_system.acquire_lock(session_id, timeout=0)
    assert await any_system.renew_lock(session_id, second)


async def test_giving_back_and_renewing_are_checked(system: SessionSystem) -> None:
    session_id = (await system.create_session("chat", "ann", "web")).session_id
    token = await system.acquire_lock(session_id, user_id="ann")
    for call in (system.release_lock, system.renew_lock):
        with pytest.raises(AccessDenied):
            await call(session_id, token, user_id="eve")
    assert await system.renew_lock(session_id, token, user_id="ann")
    assert await system.release_lock(session_id, token, user_id="ann")


def test_tokens_are_those_of_one_lock_and_of_one_deployment() -> None:
    tokens, others = LockTokens(b"ours"), LockTokens(b"theirs")
    given = [tokens.given("a", number) for number in (1, 2, 1000, 2**33 - 1)]
    assert given == sorted(given)
    assert [tokens.number_of("a", one) for one in given] == [1, 2, 1000, 2**33 - 1]
    assert {one.number_of(name, token) for token in given for one, name in ((tokens, "b"), (others, "a"))} == {None}
    with pytest.raises(LimitExceeded):
        tokens.given("a", 2**33)


Fenced = Callable[[SessionSystem, str, int], Awaitable[object]]


async def _saved(system: SessionSystem, session_id: str, fence: int) -> None:
    context = await system.get_session(session_id)
    assert context is not None
    context.set_data("late", True)
    await system.update_session(context, fence=fence)


FENCED: dict[str, Fenced] = {
    "add_message": lambda s, one, token: s.add_message(one, "ann", "user", "late", fence=token),
    "add_message_to_session": lambda s, one, token: s.add_message_to_session(one, Message(content="l"), fence=token),
    "apply_template": lambda s, one, token: s.apply_template(one, "kept", fence=token),
    "close_session": lambda s, one, token: s.close_session(one, fence=token),
    "delete_session": lambda s, one, token: s.delete_session(one, children="cascade", fence=token),
    "extend_session_lifetime": lambda s, one, token: s.extend_session_lifetime(one, 60, fence=token),
    "refresh_session": lambda s, one, token: s.refresh_session(one, fence=token),
    "reset_session_history": lambda s, one, token: s.reset_session_history(one, fence=token),
    "restore_checkpoint": lambda s, one, token: s.restore_checkpoint(one, "kept", fence=token),
    "revoke_share": lambda s, one, token: s.revoke_share(one, "ann", "bob", fence=token),
    "set_session_state": lambda s, one, token: s.set_session_state(one, "suspended", fence=token),
    "set_visibility": lambda s, one, token: s.set_visibility(one, "ann", "public", fence=token),
    "share_session": lambda s, one, token: s.share_session(one, "ann", "eve", fence=token),
    "track_session_state_change": lambda s, one, token: s.track_session_state_change(one, "suspended", fence=token),
    "update_session": _saved,
    "update_session_metadata": lambda s, one, token: s.update_session_metadata(one, {"late": 1}, fence=token),
}


def test_every_call_that_changes_one_session_takes_a_token() -> None:
    """Whoever can be told by a `request_id` that it was done can be told by a token that it came too late."""
    public = inspect.getmembers(SessionSystem, inspect.isfunction)
    calls = {name: inspect.signature(call).parameters for name, call in public if not name.startswith("_")}
    taking = {name for name, given in calls.items() if "fence" in given}
    changing = {name for name, given in calls.items() if {"session_id", "request_id"} <= given.keys()}
    assert taking == FENCED.keys()
    assert changing - taking == {"track_event"}, "which is kept beside the session"


@pytest.mark.parametrize("name", FENCED)
async def test_no_call_of_a_holder_who_is_too_late_changes_anything(any_system: SessionSystem, name: str) -> None:
    session_id = (await any_system.create_session("chat", "ann", "web", custom_data={"a": 1})).session_id
    child = await any_system.create_session(user_id="ann", parent_id=session_id)
    await any_system.save_template("kept", context={"late": True})
    await any_system.save_checkpoint(session_id, {"late": True}, checkpoint_id="kept")
    await any_system.share_session(session_id, "ann", "bob")
    stale = await any_system.acquire_lock(session_id)
    assert await any_system.release_lock(session_id, stale)
    fresh = await any_system.acquire_lock(session_id)
    await any_system.update_session_metadata(session_id, {"held": True}, fence=fresh)
    before = await any_system._store.heads.get(session_id)

    for fence in (stale, 5):
        with pytest.raises(LockLost):
            await FENCED[name](any_system, session_id, fence)
    assert await any_system._store.heads.get(session_id) == before
    assert await any_system.session_exists(child.session_id)

    await FENCED[name](any_system, session_id, fresh)
    after = await any_system._store.heads.get(session_id)
    assert after != before


@pytest.mark.parametrize("children", ["detach", "cascade"])
async def test_whoever_lost_the_lock_does_nothing_to_the_children_of_an_earlier_session(
    system: SessionSystem, children: str
) -> None:
    earlier = (await system.create_session("chat", "ann", "web")).session_id
    child = await system.create_session(user_id="ann", parent_id=earlier)
    stale = await system.acquire_lock(earlier, timeout=0)
    await system.release_lock(earlier, stale)
    token = await system.acquire_lock(earlier, timeout=0)
    now = (await system.create_session("chat", "ann", "web")).session_id
    await system.refresh_session(now, fence=token)

    with pytest.raises(LockLost):
        await system.delete_session(earlier, fence=stale, children=children)

    assert await system.session_exists(earlier)
    kept = await system.get_session(child.session_id)
    assert kept is not None
    assert kept.parent_id == earlier
