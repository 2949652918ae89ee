"""Working on a session in a block: found or created before, saved once after."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

from agentbus.contracts.errors import EditConflict, SessionNotFound
from agentbus.sessions.manager import SessionManager
from agentbus.sessions.model.context import SessionContext
from agentbus.sessions.model.types import ConflictPolicy, Platform

_PAUSE: Final = 0.01
"""The longest pause before the first repetition, in seconds; it doubles with each."""

_LONGEST_PAUSE: Final = 0.2

P = ParamSpec("P")
R = TypeVar("R")


@asynccontextmanager
async def session_context(
    manager: SessionManager,
    *,
    chat_id: str,
    user_id: str,
    platform: Platform | str,
    on_conflict: ConflictPolicy | str = ConflictPolicy.RAISE,
    retries: int = 0,
    **creation: Any,
) -> AsyncIterator[SessionContext]:
    """Find or create the session of a user in a chat, and save what the body changed, once, when it is left.

    Nothing is saved when the body raises. Two bodies on one session at once both keep their changes, field by field,
    and what they `increment` and the tags that they add or take out add up. Of two that set the same field, or the
    same attribute, the later one raises EditConflict: its messages are saved, nothing else (or it overwrites the field,
    if `on_conflict` says so). With `retries` its changes are
    repeated up to so many times on what the session has become: a value is set as the body computed it from what it
    read, so count with `increment`, or use `with_session`, which runs the handler again. `creation` are further
    arguments of `create_session`, for when there is no session yet.
    """
    session = await manager.create_session(chat_id, user_id, platform, keep_live=True, **creation)
    yield session
    for attempt in range(retries + 1):
        try:
            await _save(manager, session, on_conflict, last=attempt == retries)
        except EditConflict:
            if attempt == retries:
                raise
        else:
            return
        await _pause(attempt)
        if latest := await manager.get_session(session.session_id):
            session.repeat_on(latest)


def with_session(
    manager: SessionManager,
    *,
    on_conflict: ConflictPolicy | str = ConflictPolicy.RAISE,
    retries: int = 0,
    **creation: Any,
) -> Callable[[Callable[Concatenate[SessionContext, P], Awaitable[R]]], Callable[..., Awaitable[R]]]:
    """Make a handler work on a session as `session_context` does.

    The decorated function takes `chat_id`, `user_id` and `platform` by keyword besides the handler's own arguments,
    and hands the session to the handler as its first. With `retries` a handler whose changes came too late is run
    again, up to so many times, on the session as it has become.
    """

    def decorate(handler: Callable[Concatenate[SessionContext, P], Awaitable[R]]) -> Callable[..., Awaitable[R]]:
        @wraps(handler)
        async def handle(*args: Any, chat_id: str, user_id: str, platform: Platform | str, **kwargs: Any) -> R:
            attempt = 0
            while True:
                session = await manager.create_session(chat_id, user_id, platform, keep_live=True, **creation)
                result = await handler(session, *args, **kwargs)
                try:
                    await _save(manager, session, on_conflict, last=attempt >= retries)
                except EditConflict:
                    if attempt >= retries:
                        raise
                else:
                    return result
                await _pause(attempt)
                attempt += 1

        return handle

    return decorate


async def _save(
    manager: SessionManager, session: SessionContext, on_conflict: ConflictPolicy | str, *, last: bool
) -> None:
    """Save what was changed. Where that is a conflict and the `last` try, the messages are saved: they can't be one."""
    try:
        await manager.update_session(session, on_conflict=on_conflict)
    except SessionNotFound:
        if session.changes():
            raise  # Otherwise the body deleted the session, and there is nothing to save.
    except EditConflict:
        if last and (latest := await manager.get_session(session.session_id)):
            await manager.update_session(session.only_messages_on(latest))
        raise


async def _pause(attempt: int) -> None:
    """Wait a little, so that those who collided do not do so again at once."""
    await asyncio.sleep(random.uniform(0, min(_LONGEST_PAUSE, _PAUSE * 2**attempt)))
