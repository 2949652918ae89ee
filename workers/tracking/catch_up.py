"""Follows conversations: reads what their logs have gained, and keeps the figures."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

from agentbus.contracts.errors import StoreDamaged
from agentbus.contracts.events import Commit
from agentbus.contracts.ids import ConversationId
from agentbus.contracts.records import Record
from agentbus.contracts.telemetry import Action
from agentbus.contracts.tracking import Tracked
from agentbus.storage.archive import ArchiveStore
from agentbus.storage.chunks import chunks
from agentbus.storage.log_lines import Logger
from agentbus.storage.port import Store
from agentbus.workers.concurrency import side_by_side
from agentbus.workers.domain.tracking.following import follow
from agentbus.workers.faults import told
from agentbus.workers.tracking.kept import day_records, read_tracked, records_after, tracked_record
from agentbus.workers.tracking.missing import archived_events, with_archived

_COMMITS: Final = 200
"""Commits that are read at once."""
_AT_ONCE: Final = 16
"""Conversations that are followed at the same time."""

_log = Logger(__name__)


@dataclass(frozen=True, slots=True)
class Step:
    """What is to be kept of some commits that were followed."""

    tracked: Tracked
    beside: Sequence[Record]
    """Of days and sessions; kept first."""
    mark: Record
    """How far the conversation was followed by that."""


class Tracker:
    """Follows conversations. Any number may follow the same one at once, and die at any point."""

    def __init__(self, store: Store, archive: ArchiveStore | None = None) -> None:
        self._store = store
        self._archive = archive

    async def catch_up(self, conversations: Collection[ConversationId]) -> dict[ConversationId, Tracked]:
        """Follow conversations to the end of their logs; return how far that is.

        One that is damaged is told of in the log, and is missing in what is returned.
        """
        found: dict[ConversationId, Tracked] = {}
        for some in chunks(list(conversations), _AT_ONCE):
            followed = zip(some, await side_by_side(map(self._follow, some)), strict=True)
            found.update({conversation: tracked for conversation, tracked in followed if tracked is not None})
        return found

    async def step(self, conversation: ConversationId, tracked: Tracked) -> Step | None:
        """Return what the next commits come to; None if there are none."""
        commits = await self._store.log.read(conversation, first=tracked.version + 1, limit=_COMMITS)
        return await self.step_over(conversation, tracked, commits) if commits else None

    async def step_over(self, conversation: ConversationId, tracked: Tracked, commits: Sequence[Commit]) -> Step:
        """Return what `commits`, which come next, come to; what has left them for the archive is read there."""
        followed = follow(tracked, commits)
        if tracked.whole and not followed.tracked.whole and self._archive:
            generation, first, last = followed.tracked.generation, commits[0].version, commits[-1].version
            archived = await archived_events(self._archive, conversation, generation, first=first, last=last)
            followed = follow(tracked, [with_archived(commit, archived) for commit in commits])
        kept = await day_records(self._store, conversation, {*followed.parts, *followed.void_days})
        return Step(
            tracked=followed.tracked,
            beside=records_after(conversation, followed, kept),
            mark=tracked_record(conversation, followed.tracked),
        )

    async def keep(self, step: Step) -> None:
        """Keep what a step came to: the mark last, so that what a crash leaves out is done again."""
        await self._store.records.put_many(step.beside)
        await self._store.records.put_many([step.mark])

    async def _follow(self, conversation: ConversationId) -> Tracked | None:
        try:
            tracked = await read_tracked(self._store, conversation)
            while (step := await self.step(conversation, tracked)) is not None:
                await self.keep(step)
                tracked = step.tracked
        except StoreDamaged as error:
            _log.error(Action.TRACKING_DAMAGED, conversation_id=conversation, **told(error))
            return None
        return tracked
