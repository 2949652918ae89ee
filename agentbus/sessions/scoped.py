"""Working on a session in a block: found or created before, saved once after."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from agentbus.sessions.manager import SessionManager
from agentbus.sessions.model.context import SessionContext
from agentbus.sessions.model.types import ConflictPolicy, Platform
from contracts.errors import SessionNotFound

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
    **creation: Any,
) -> AsyncIterator[SessionContext]:
    """Find or create the session of a user in a chat, and save what the body changed, once, when it is left.

    Nothing is saved when the body raises. Two bodies on one session at once both keep their changes, field by field;
    of two that changed the same field the later one raises EditConflict and saves nothing (or overwrites it, if
    `on_conflict` says so). `creation` are further arguments of `create_session`, for when there is no session yet.
    """
    session = await manager.create_session(chat_id, user_id, platform, keep_live=True, **creation)
    yield session
    try:
        await manager.update_session(session, on_conflict=on_conflict)
    except SessionNotFound:
        if session.changes():
            raise  # Otherwise the body deleted the session, and there is nothing to save.


def with_session(
    manager: SessionManager, *, on_conflict: ConflictPolicy | str = ConflictPolicy.RAISE, **creation: Any
) -> Callable[[Callable[Concatenate[SessionContext, P], Awaitable[R]]], Callable[..., Awaitable[R]]]:
    """Make a handler work on a session as `session_context` does.

    The decorated function takes `chat_id`, `user_id` and `platform` by keyword besides the handler's own arguments,
    and hands the session to the handler as its first.
    """

    def decorate(handler: Callable[Concatenate[SessionContext, P], Awaitable[R]]) -> Callable[..., Awaitable[R]]:
        @wraps(handler)
        async def handle(*args: Any, chat_id: str, user_id: str, platform: Platform | str, **kwargs: Any) -> R:
            async with session_context(
                manager, chat_id=chat_id, user_id=user_id, platform=platform, on_conflict=on_conflict, **creation
            ) as session:
                return await handler(session, *args, **kwargs)

        return handle

    return decorate
