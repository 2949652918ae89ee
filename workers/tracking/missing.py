"""What has left a log for the archive, brought back for those who follow it."""

from collections.abc import Mapping

from agentbus.contracts.events import AnyEvent, Commit
from agentbus.contracts.ids import ConversationId, generation_of, session_id_for
from agentbus.storage.archive import ArchiveStore

Events = dict[int, dict[str, AnyEvent]]
"""By the commit's version, then by the event's id."""


async def archived_events(
    archive: ArchiveStore, conversation: ConversationId, generation: int, *, first: int = 1, last: int | None = None
) -> Events:
    """Return what the archive holds of a conversation's sessions up to a generation, of these versions alone.

    Raises ArchiveError.
    """
    found: Events = {}
    for number in range(1, generation + 1):
        for entry in await archive.entries_of(session_id_for(conversation, number)):
            async for commit in archive.commits(entry):
                if first <= commit.version and (last is None or commit.version <= last):
                    found.setdefault(commit.version, {}).update({event.event_id: event for event in commit.events})
    return found


def with_archived(commit: Commit, archived: Mapping[int, Mapping[str, AnyEvent]]) -> Commit:
    """Return a commit with what the archive has of it, in the order in which it happened."""
    more = archived.get(commit.version)
    if not more:
        return commit
    events = {event.event_id: event for event in commit.events}
    both = sorted({**more, **events}.values(), key=lambda one: (generation_of(one.session_id), one.sequence))
    return commit.model_copy(update={"events": tuple(both)})
