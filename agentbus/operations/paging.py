"""Pages of what is listed: a cursor that belongs to no such list is said by an error of our own."""

from collections.abc import Iterator
from contextlib import contextmanager

from agentbus.contracts.errors import AgentBusError


class InvalidCursor(AgentBusError):
    """The cursor was not given out by this list."""


@contextmanager
def page_after(cursor: str | None) -> Iterator[None]:
    """Raise InvalidCursor in the place of the ValueError that a store raises for a cursor that is none of its own."""
    try:
        yield
    except ValueError as error:
        if cursor is None:
            raise  # It is about something else.
        raise InvalidCursor(str(error)) from None
