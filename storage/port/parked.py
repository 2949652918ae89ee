"""The parked inputs of the store port."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from agentbus.contracts.history import Page
from agentbus.contracts.ids import ConversationId
from agentbus.contracts.parked import ParkedId, ParkedInput, ParkedStatus

LISTED_BODY = 64 * 1024
"""Bytes that a list shows at most of a parked input's body."""


class ParkedInputs(ABC):
    """Inputs that failed for good, each with its error, until somebody replays, discards or erases them."""

    @abstractmethod
    async def put(self, parked: ParkedInput) -> None:
        """Record a parked input; its body may be as large as RabbitMQ lets through (128 MiB by default).

        The same one again adds 1 to its attempts and is waiting (`parked`) once more. All but its body, which is the
        same, is then the latest.
        """

    async def put_many(self, parked: Sequence[ParkedInput]) -> None:
        """Record parked inputs in their order, as `put` does each. If it raises, some of them may be recorded."""
        for one in parked:
            await self.put(one)

    @abstractmethod
    async def get(self, parked_id: ParkedId) -> ParkedInput | None:
        """Return a parked input with its whole body, or None."""

    @abstractmethod
    async def page(
        self,
        status: ParkedStatus | None = None,
        *,
        conversation: ConversationId | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[ParkedInput]:
        """Return parked inputs, the latest first (then by id): all, or those of a status, of a conversation.

        A body is cut to its first LISTED_BODY bytes, so that large ones don't slow down the list: `get` gives all
        of it. Raises ValueError as `Heads.page` does.
        """

    @abstractmethod
    async def ids(self, *, limit: int, cursor: str | None = None) -> Page[ParkedId]:
        """Return a page of the ids of all parked inputs, damaged ones too, in an order of the store's own.

        Raises ValueError as `page` does.
        """

    @abstractmethod
    async def set_status(self, parked_id: ParkedId, status: ParkedStatus) -> bool:
        """Say what became of a parked input; return whether there is one."""

    @abstractmethod
    async def delete(self, parked_id: ParkedId) -> bool:
        """Delete a parked input with its body, for erasure; return whether there was one."""
