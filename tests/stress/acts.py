"""What every user does with a session, whether allowed or not."""

from typing import Any, Final, Literal

from agentbus.sessions import ConflictPolicy, SessionContext
from tests.stress.caller import Caller, as_text
from tests.stress.model import Right, SessionModel

What = Literal["data", "metadata"]

LOCK_LEASE: Final = 60.0
_LOCK_PATIENCE: Final = 2.0


async def say(caller: Caller, session: SessionModel) -> None:
    """Add a message."""
    message_id = caller.unique()
    effect = session.began(("message", message_id), caller.user)
    await caller.call(
        "add_message",
        session,
        Right.WRITE,
        lambda: caller.manager.add_message(session.session_id, caller.user, "user", "hello", message_id=message_id),
        effects=[effect],
    )


async def count(caller: Caller, session: SessionModel, what: What = "data") -> None:
    """Count in a key of one's own, which nobody else changes: there is never a conflict, and no number is left out."""
    read_at = caller.ledger.now()
    context = await read(caller, session)
    if context is not None:
        await count_on(caller, session, context, what=what, name=f"count-{caller.user}", read_at=read_at)


async def count_on(
    caller: Caller,
    session: SessionModel,
    context: SessionContext,
    *,
    what: What,
    name: str,
    read_at: float,
    fence: int | None = None,
) -> bool:
    """Count one on from what was read, which must be what was confirmed last; return whether it was saved."""
    found = getattr(context, what).get(name)
    check_read(caller, session, what, name, found)
    value = next_count(caller, found)
    return await save(caller, session, context, what=what, name=name, value=value, read_at=read_at, fence=fence)


def next_count(caller: Caller, found: Any) -> list[Any]:
    """Return the number after the one found, with a name that makes it unlike all others."""
    return [found[0] + 1 if found else 1, caller.unique()]


def check_read(caller: Caller, session: SessionModel, what: What, name: str, found: Any) -> None:
    """Check that a field which nobody changes meanwhile reads as it was confirmed last."""
    seen = None if found is None else as_text(found)
    if seen not in (readable := session.readable(what, name)):
        caller.ledger.breach("stale read", f"{caller.user} {session.session_id} {name}: {seen}, not {readable}")


async def discuss(caller: Caller, session: SessionModel) -> None:
    """Write to a key that everyone writes to: conflicts are expected, unless one overwrites."""
    read_at = caller.ledger.now()
    context = await read(caller, session)
    if context is None:
        return
    overwrite = caller.random.random() < 0.3
    await save(caller, session, context, name="topic", value=caller.unique(), read_at=None if overwrite else read_at)


async def read(caller: Caller, session: SessionModel) -> SessionContext | None:
    """Read a session to change it: as the user, or as an application that leaves the checking to the saving."""
    session_id = session.session_id
    if caller.random.random() < 0.3:
        return await caller.call(
            "get_session", session, Right.NONE, lambda: caller.manager.get_session(session_id), as_application=True
        )
    return await caller.call(
        "get_session", session, Right.READ, lambda: caller.manager.get_session(session_id, user_id=caller.user)
    )


async def save(
    caller: Caller,
    session: SessionModel,
    context: SessionContext,
    *,
    what: What = "data",
    name: str,
    value: Any,
    read_at: float | None,
    fence: int | None = None,
    stale: bool = False,
) -> bool:
    """Save a changed key; without `read_at` whatever stands there is overwritten. Return whether it was saved."""
    getattr(context, what)[name] = value
    effect = session.began((what, name, as_text(value)), caller.user)
    policy = ConflictPolicy.OVERWRITE if read_at is None else ConflictPolicy.RAISE
    request = caller.unique()
    done = await caller.call(
        "update_session",
        session,
        Right.WRITE,
        lambda: caller.manager.update_session(
            context, user_id=caller.user, on_conflict=policy, fence=fence, request_id=request
        ),
        effects=[effect],
        read_at=read_at,
        stale=stale,
    )
    return bool(done)


async def count_locked(caller: Caller, session: SessionModel) -> None:
    """Count in a key that everyone counts in, under the session's lock: no conflict, no number left out or twice."""
    session_id = session.session_id
    token = await caller.call(
        "acquire_lock",
        session,
        Right.WRITE,
        lambda: caller.manager.acquire_lock(session_id, user_id=caller.user, timeout=_LOCK_PATIENCE, lease=LOCK_LEASE),
    )
    if token is None:
        return
    if session.holder or token <= session.last_token:
        caller.ledger.breach("lock given twice", f"{session_id}: {token} to {caller.user}, beside {session.holder}")
    session.holder, session.last_token = caller.user, token
    context = await caller.call(
        "get_session", session, Right.NONE, lambda: caller.manager.get_session(session_id), as_application=True
    )
    if context:
        read_at = caller.ledger.now()
        if await count_on(caller, session, context, what="data", name="locked", read_at=read_at, fence=token):
            session.fence = max(session.fence, token)
            caller.tokens[session_id] = token
    session.holder = None
    await caller.call_unchecked("release_lock", lambda: caller.manager.release_lock(session_id, token))


async def write_late(caller: Caller, session: SessionModel) -> None:
    """Write with the token of a lock that others have held and written under since: nothing may come of it."""
    token = caller.tokens.get(session.session_id)
    if token is None or token >= session.fence:
        return
    context = await read(caller, session)
    if context is not None:
        read_at = caller.ledger.now()
        name = f"late-{caller.user}"
        await save(caller, session, context, name=name, value=caller.unique(), read_at=read_at, fence=token, stale=True)


async def checkpoint(caller: Caller, session: SessionModel) -> None:
    """Save a checkpoint."""
    checkpoint_id = caller.unique()
    effect = session.began(("checkpoint", checkpoint_id), caller.user)
    await caller.call(
        "save_checkpoint",
        session,
        Right.WRITE,
        lambda: caller.manager.save_checkpoint(
            session.session_id, {"by": caller.user}, user_id=caller.user, checkpoint_id=checkpoint_id
        ),
        effects=[effect],
    )


async def look(caller: Caller, session: SessionModel) -> None:
    """Read something."""
    session_id, user = session.session_id, caller.user
    match caller.random.randrange(5):
        case 0:
            await caller.call(
                "get_messages",
                session,
                Right.READ,
                lambda: caller.manager.get_session_messages(session_id, user, limit=20),
            )
        case 1:
            await caller.call(
                "get_state", session, Right.READ, lambda: caller.manager.get_session_state(session_id, user_id=user)
            )
        case 2:
            await caller.call(
                "list_checkpoints",
                session,
                Right.READ,
                lambda: caller.manager.list_checkpoints(session_id, user_id=user, limit=5),
            )
        case 3:
            await caller.call(
                "get_audit_log",
                session,
                Right.OWN,
                lambda: caller.manager.get_audit_log(session_id, user_id=user, limit=5),
            )
        case _:
            await _ask(caller, session)


async def _ask(caller: Caller, session: SessionModel) -> None:
    begun = session.watch()
    there = await caller.call_unchecked(
        "session_exists", lambda: caller.manager.session_exists(session.session_id, user_id=caller.user)
    )
    if there not in {right >= Right.READ for right in session.rights(caller.user, begun)}:
        caller.ledger.breach("session_exists told wrong", f"{caller.user} {session.session_id}: {there}")


async def intrude(caller: Caller, session: SessionModel) -> None:
    """Try what the owner alone may do."""
    if caller.user == session.owner:
        return
    session_id, user = session.session_id, caller.user
    match caller.random.randrange(4):
        case 0:
            victim = caller.unique()
            effect = session.began(("share", victim), user)
            await caller.call(
                "share_session",
                session,
                Right.OWN,
                lambda: caller.manager.share_session(session_id, user, victim, "write"),
                effects=[effect],
            )
        case 1:
            await caller.call(
                "revoke_share", session, Right.OWN, lambda: caller.manager.revoke_share(session_id, user, session.owner)
            )
        case 2:
            await caller.call(
                "set_visibility", session, Right.OWN, lambda: caller.manager.set_visibility(session_id, user, "public")
            )
        case _:
            await caller.call(
                "delete_session", session, Right.OWN, lambda: caller.manager.delete_session(session_id, user_id=user)
            )
