"""Making the figures anew from the logs, and from the archive for the sessions that went there."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from agentbus.contracts.errors import StoreDamaged
from agentbus.contracts.events import Commit
from agentbus.contracts.ids import ConversationId
from agentbus.contracts.telemetry import Action
from agentbus.contracts.tracking import Tracked
from agentbus.storage.archive import ArchiveStore
from agentbus.storage.log_lines import Logger
from agentbus.storage.port import Store
from agentbus.storage.reading import PAGE, iter_log
from agentbus.workers.domain.tracking.following import Followed, follow_on
from agentbus.workers.faults import told
from agentbus.workers.tracking.kept import empty_day, read_tracked, records_after, tracked_record
from agentbus.workers.tracking.missing import Events, archived_events, with_archived

_PAGE: Final = 100

_log = Logger(__name__)


@dataclass(slots=True)
class Rebuilt:
    """How far a rebuild is."""

    conversations: int = 0
    """Those that were looked at."""
    kept: int = 0
    """Those of them whose log has lost what neither it nor the archive can tell: their figures stay as they are."""
    damaged: int = 0
    """Those that can't be read; the log names them."""


class Rebuilding:
    """Makes figures anew, conversation by conversation, while workers go on."""

    def __init__(self, store: Store, archive: ArchiveStore | None = None) -> None:
        self._store = store
        self._archive = archive

    async def run(self) -> AsyncIterator[Rebuilt]:
        """Rebuild everything; yield how far that is. Raises StoreError, ArchiveError."""
        progress = Rebuilt()
        after: ConversationId | None = None
        while found := await self._store.log.conversations(after=after, limit=_PAGE):
            for conversation in found:
                await self._rebuild(conversation, progress)
                progress.conversations += 1
            yield progress
            after = found[-1]
        yield progress

    async def _rebuild(self, conversation: ConversationId, progress: Rebuilt) -> None:
        try:
            before = await self._before(conversation)
            followed = await self._followed(conversation)
        except StoreDamaged as error:
            _log.error(Action.TRACKING_DAMAGED, conversation_id=conversation, **told(error))
            progress.damaged += 1
            return
        if followed is None:
            progress.kept += bool(before.version)
            return
        await self._keep(conversation, before, followed)

    async def _before(self, conversation: ConversationId) -> Tracked:
        try:
            return await read_tracked(self._store, conversation)
        except StoreDamaged:
            return Tracked()  # it is to be replaced

    async def _followed(self, conversation: ConversationId) -> Followed | None:
        """Follow a log from its beginning; None if it has lost something, so that less would come out."""
        followed = await self._follow(conversation, {})
        if not followed.tracked.whole and self._archive:
            archived = await archived_events(self._archive, conversation, followed.tracked.generation)
            followed = await self._follow(conversation, archived)
        return followed if followed.tracked.whole else None

    async def _follow(self, conversation: ConversationId, archived: Events) -> Followed:
        whole = Followed(Tracked())
        some: list[Commit] = []
        async for commit in iter_log(self._store, conversation):
            some.append(with_archived(commit, archived))
            if len(some) == PAGE:
                follow_on(whole, some)
                some = []
        follow_on(whole, some)
        return whole

    async def _keep(self, conversation: ConversationId, before: Tracked, followed: Followed) -> None:
        version = followed.tracked.version
        made = records_after(conversation, followed, {})
        gone = [day for day in before.days if day not in followed.parts]
        await self._store.records.put_many([*made, *(empty_day(conversation, day, version) for day in gone)])
        await self._store.records.put_many([tracked_record(conversation, followed.tracked)])
