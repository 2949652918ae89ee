"""The parked inputs in files: a folder each, with the body in a file of its own."""

import os
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Final

from agentbus.contracts.errors import StoreDamaged
from agentbus.contracts.history import Page
from agentbus.contracts.ids import ConversationId
from agentbus.contracts.parked import ParkedId, ParkedInput, ParkedStatus
from agentbus.storage.calls import end_well
from agentbus.storage.cancelling import finished
from agentbus.storage.damage import RESTORE, readable
from agentbus.storage.files.base import FileSection, Folder
from agentbus.storage.files.disk import locked
from agentbus.storage.files.layout import file_name, make_folders
from agentbus.storage.files.reading import KeptParked, Remembered, pretty, read, read_if_sound
from agentbus.storage.listing import listed
from agentbus.storage.paging import Position, all_page, check_limit, name_after, parked_page, position_of
from agentbus.storage.port import LISTED_BODY, ParkedInputs

_DETAILS: Final = "details.json"
_BODY: Final = "body"


@end_well(finished)
class FileParked(FileSection, ParkedInputs):
    """The section of the parked inputs. Lists keep the details of all in memory, as those of heads do."""

    def __init__(self, folder: Folder) -> None:
        super().__init__(folder)
        self._known = Remembered(KeptParked)

    async def put(self, parked: ParkedInput) -> None:
        await self._folder.call(partial(self._park, parked))

    def _park(self, parked: ParkedInput) -> None:
        try:
            self._keep(parked)
        except FileNotFoundError:  # Somebody deleted the same one just now, with its folder.
            self._keep(parked)

    def _keep(self, parked: ParkedInput) -> None:
        folder = self._folder_of(parked.parked_id)
        make_folders(folder)
        with locked([folder]):
            kept = read_if_sound(folder / _DETAILS, KeptParked)
            if kept is None:
                self._folder.disk.put(folder / _BODY, parked.body)
                self._folder.disk.sync([self._folder.layout.parked])
            changed: dict[str, Any] = {
                "status": ParkedStatus.PARKED,
                "attempts": kept.attempts + 1 if kept else parked.attempts,
                "body_bytes": kept.body_bytes if kept else len(parked.body),
            }
            details = KeptParked.model_validate(parked.model_dump(exclude={"body"}) | changed)
            self._folder.disk.put(folder / _DETAILS, pretty(details))

    async def get(self, parked_id: ParkedId) -> ParkedInput | None:
        return await self._folder.call(partial(self._parked, self._folder_of(parked_id)))

    def _parked(self, folder: Path) -> ParkedInput | None:
        kept = read(folder / _DETAILS, KeptParked)
        return None if kept is None else self._with_body(kept, kept.body_bytes)

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
        return await self._folder.call(partial(self._list_parked, status, conversation, after, limit))

    def _list_parked(
        self, status: ParkedStatus | None, conversation: ConversationId | None, after: Position | None, limit: int
    ) -> Page[ParkedInput]:
        folder = self._folder.layout.parked
        matching = (
            item
            for item in self._known.read_all(f"{folder}/{name}/{_DETAILS}" for name in os.listdir(folder))
            if status in {None, item.status} and conversation in {None, item.conversation_id}
        )
        found = listed(matching, lambda item: (item.parked_at, item.parked_id), after)
        shown = islice(readable(found, lambda item: self._with_body(item, LISTED_BODY)), limit + 1)
        return parked_page(list(shown), limit)

    async def ids(self, *, limit: int, cursor: str | None = None) -> Page[ParkedId]:
        return await self._folder.call(partial(self._ids, name_after("parked ids", cursor), check_limit(limit)))

    def _ids(self, after: str, limit: int) -> Page[ParkedId]:
        # Its id is the name of its folder. One without details is being parked, or was when its process died.
        folder = self._folder.layout.parked
        names = sorted(name for name in os.listdir(folder) if name > after)
        known = (ParkedId(name) for name in names if (folder / name / _DETAILS).exists())
        return all_page("parked ids", list(islice(known, limit + 1)), limit, str)

    async def set_status(self, parked_id: ParkedId, status: ParkedStatus) -> bool:
        return await self._folder.call(partial(self._set_status, self._folder_of(parked_id), status))

    def _set_status(self, folder: Path, status: ParkedStatus) -> bool:
        try:
            with locked([folder]):
                kept = read(folder / _DETAILS, KeptParked)
                if kept is not None:
                    self._folder.disk.put(folder / _DETAILS, pretty(kept.model_copy(update={"status": status})))
        except FileNotFoundError:
            return False
        return kept is not None

    async def delete(self, parked_id: ParkedId) -> bool:
        return await self._folder.call(partial(self._delete_parked, self._folder_of(parked_id)))

    def _delete_parked(self, folder: Path) -> bool:
        try:
            with locked([folder]):
                there_was_one = (folder / _DETAILS).exists()
                self._folder.disk.discard(folder)
        except FileNotFoundError:
            return False
        return there_was_one

    def _with_body(self, kept: KeptParked, size: int) -> ParkedInput:
        """Return a parked input with up to `size` bytes of its body."""
        path = self._folder_of(kept.parked_id) / _BODY
        try:
            with path.open("rb") as file:
                body = file.read(size)
        except FileNotFoundError:
            body = b""
        if len(body) < (expected := min(size, kept.body_bytes)):
            raise StoreDamaged(f"{path} is damaged: {len(body)} of {expected} bytes are left: {RESTORE}")
        return ParkedInput.model_validate(kept.model_dump() | {"body": body})

    def _folder_of(self, parked_id: ParkedId) -> Path:
        return self._folder.layout.parked / file_name(parked_id)
