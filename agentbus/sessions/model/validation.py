"""What callers give, checked: what can't be is said in an error of our own."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from uuid import uuid4

from pydantic import TypeAdapter, ValidationError

from agentbus.contracts.base import DEFERRED, Id
from agentbus.contracts.errors import AccessDenied, SchemaViolation, SessionNotFound
from agentbus.contracts.history import SessionFilter
from agentbus.contracts.ids import SessionId, SessionIdField
from agentbus.workers.domain.access import DENIED

_SESSION_ID: Final = TypeAdapter[SessionId](SessionIdField, config=DEFERRED)
_ID: Final = TypeAdapter[str](Id, config=DEFERRED)


@contextmanager
def checking(what: str) -> Iterator[None]:
    """Raise SchemaViolation, beginning with `what` and saying where and why, for a value that can't be."""
    try:
        yield
    except ValidationError as error:
        raise SchemaViolation(f"{what}: {reasons(error)}") from error
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        raise SchemaViolation(f"{what}: {error}") from error


def reasons(error: ValidationError) -> str:
    """Return in one line where values are wrong, and why."""
    return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}".removeprefix(": ") for one in error.errors())


def checked_id(session_id: str) -> SessionId:
    """Return `session_id` if it is one. Raises SessionNotFound: nothing else can be a session's id."""
    try:
        return _SESSION_ID.validate_python(session_id)
    except ValidationError:
        raise SessionNotFound(f"there is no session {session_id!r}: that is not a session's id") from None


def checked_for(session_id: str, user: str | None) -> SessionId:
    """Return `session_id` if it is one. Raises SessionNotFound, or AccessDenied if `user` is given."""
    try:
        return checked_id(session_id)
    except SessionNotFound:
        if user is None:
            raise
        raise AccessDenied(DENIED) from None


def checked_request(request_id: str | None) -> str:
    """Return `request_id`, or a new one for None. Raises SchemaViolation if it is no id."""
    with checking("request_id can't be used"):
        return uuid4().hex if request_id is None else _ID.validate_python(request_id)


def is_id(text: str) -> bool:
    """Whether `text` can be the id or key of anything that is kept."""
    try:
        _ID.validate_python(text)
    except ValidationError:
        return False
    return True


def sessions_of(*required: str, **fields: Any) -> SessionFilter:
    """Return a filter. Raises SchemaViolation for a value that can't be.

    None for a `required` field is refused too: it would mean the sessions of everybody.
    """
    if missing := [name for name in required if fields[name] is None]:
        raise SchemaViolation(f"whose sessions? {', '.join(missing)} is None")
    with checking("there can't be such sessions"):
        return SessionFilter(**fields)
