"""The parked inputs in memory."""

from agentbus.contracts.history import Page
from agentbus.contracts.ids import ConversationId
from agentbus.contracts.parked import ParkedId, ParkedInput, ParkedStatus
from agentbus.storage.listing import listed
from agentbus.storage.paging import all_page, check_limit, name_after, parked_page, position_of
from agentbus.storage.port import LISTED_BODY, ParkedInputs


class MemoryParked(ParkedInputs):
    """The section of the parked inputs."""

    def __init__(self) -> None:
        self._parked: dict[ParkedId, ParkedInput] = {}

    async def put(self, parked: ParkedInput) -> None:
        kept = self._parked.get(parked.parked_id)
        changed = {"status": ParkedStatus.PARKED, "attempts": kept.attempts + 1 if kept else parked.attempts}
        self._parked[parked.parked_id] = parked.model_copy(update=changed)

    async def get(self, parked_id: ParkedId) -> ParkedInput | None:
        return self._parked.get(parked_id)

    async def page(
        self,
        status: ParkedStatus | None = None,
        *,
        conversation: ConversationId | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page[ParkedInput]:
        check_limit(limit)
        after = position_of("parked", cursor)
        matching = (
            item
            for item in self._parked.values()
            if status in {None, item.status} and conversation in {None, item.conversation_id}
        )
        found = listed(matching, lambda item: (item.parked_at, item.parked_id), after, limit + 1)
        return parked_page([_cut(item) for item in found], limit)

    async def ids(self, *, limit: int, cursor: str | None = None) -> Page[ParkedId]:
        check_limit(limit)
        after = name_after("parked ids", cursor)
        found = sorted(one for one in self._parked if one > after)[: limit + 1]
        return all_page("parked ids", found, limit, str)

    async def set_status(self, parked_id: ParkedId, status: ParkedStatus) -> bool:
        kept = self._parked.get(parked_id)
        if kept is None:
            return False
        self._parked[parked_id] = kept.model_copy(update={"status": status})
        return True

    async def delete(self, parked_id: ParkedId) -> bool:
        return self._parked.pop(parked_id, None) is not None


def _cut(parked: ParkedInput) -> ParkedInput:
    return parked.model_copy(update={"body": parked.body[:LISTED_BODY]})
