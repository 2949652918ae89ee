"""What a call that deals with many sessions gives: how many, and which it could not deal with."""

from collections.abc import Mapping
from typing import Self

from contracts.errors import AgentBusError
from contracts.ids import SessionId


class Count(int):
    """How many sessions a call has dealt with: a number, and with it those that it could not deal with."""

    failed: Mapping[SessionId, AgentBusError]
    """Why not, by session; empty if all went well. Whoever calls again tries these again."""

    def __new__(cls, number: int, failed: Mapping[SessionId, AgentBusError] | None = None) -> Self:
        """Return a number with the failures beside it."""
        count = super().__new__(cls, number)
        count.failed = dict(failed or {})
        return count

    def and_more(self, other: "Count") -> "Count":
        """Return what two calls have dealt with together."""
        return Count(self + other, {**self.failed, **other.failed})

    __str__ = int.__repr__

    def __repr__(self) -> str:
        return f"Count({int(self)}, failed={dict(self.failed)!r})"
