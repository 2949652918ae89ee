"""Making a call again whose transaction collided with another one and was undone."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Final, Protocol, TypeVar

from sqlalchemy.exc import IntegrityError

from agentbus.contracts.errors import StoreUnavailable
from agentbus.storage.calls import own_calls
from agentbus.storage.sql.base import SqlDatabase
from agentbus.storage.sql.errors import Collided

ATTEMPTS: Final = 8
"""How often a call is made at most."""

_PAUSE: Final = 0.02
"""Seconds to wait at most before the second attempt; before the third twice as many, and so on."""

_Kind = TypeVar("_Kind", bound=type)
_Call = Callable[..., Coroutine[Any, Any, Any]]


class _Section(Protocol):
    _database: SqlDatabase


def made_again(kind: _Kind) -> _Kind:
    """Let the calls of a section be made again when they collide, and end as the database needs it when cancelled.

    They collide where another transaction holds what they need (a deadlock), or where another process inserted the
    same row at the same time: now there is one, and the call finds it.
    """
    for name, call in own_calls(kind):
        setattr(kind, name, _attempted(call))
    return kind


def _attempted(call: _Call) -> _Call:
    @wraps(call)
    async def attempted(section: _Section, *args: Any, **given: Any) -> Any:
        return await section._database.dialect.call(_attempts(section, call, *args, **given))  # noqa: SLF001 - its own

    return attempted


async def _attempts(section: _Section, call: _Call, *args: Any, **given: Any) -> Any:
    for attempt in range(1, ATTEMPTS):
        try:
            return await call(section, *args, **given)
        except (Collided, IntegrityError):
            await asyncio.sleep(random.uniform(0, _PAUSE * 2 ** (attempt - 1)))
    try:
        return await call(section, *args, **given)
    except IntegrityError as error:
        target = section._database.target  # noqa: SLF001 - its own
        raise StoreUnavailable(f"{target}: others insert and delete the same all the time") from error
