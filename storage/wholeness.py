"""Whether a log still tells all that happened: what was archived or erased has left it, and does not come back."""

from collections.abc import Iterable

from agentbus.contracts.errors import StoreDamaged
from agentbus.contracts.events import Commit, SessionStarted
from agentbus.contracts.ids import ConversationId, generation_of
from agentbus.contracts.session import SessionState
from agentbus.storage.damage import RESTORE
from agentbus.storage.port import Loaded


class Wholeness:
    """Reads a log from its first commit on, and says at which one something is missing."""

    def __init__(self) -> None:
        self._version = 0
        self._generation = 0
        self._sequence = 0

    def missing(self, commit: Commit) -> str | None:
        """Take the next commit; return what is missing before or in it, or None."""
        expected, self._version = self._version + 1, commit.version
        if commit.version != expected:
            return f"commit {expected} is missing"
        if not commit.events:
            return f"commit {commit.version} was emptied, as what is archived or erased is"
        for event in commit.events:
            place = generation_of(event.session_id), event.sequence
            begins = place == (self._generation + 1, 1) and isinstance(event, SessionStarted)
            if not begins and (not self._generation or place != (self._generation, self._sequence + 1)):
                return f"events before the one of commit {commit.version} left the log, as what is archived does"
            self._generation, self._sequence = place
        return None


def first_needed(head: SessionState | None) -> int:
    """Return the version from which on the log is needed beside a conversation's latest head that there is.

    That of a session that has ended may not be the latest for long: the commit that ended it may have begun the next
    one, whose head is written a moment later, or not at all if the writer dies. So that commit is needed too.
    """
    if head is None:
        return 1
    return head.version + 1 if head.is_live else head.version


def loaded(head: SessionState | None, commits: Iterable[Commit]) -> Loaded:
    """Return a head with what happened after it, given the commits from `first_needed` on.

    If one of them can't be read, that is the damage of it all.
    """
    try:
        found = tuple(commits)
    except StoreDamaged as damage:
        return Loaded(damage=damage)
    if head is None or not found or found[0].version > head.version:
        return Loaded(head, found)
    ending, *after = found
    begun = tuple(one for one in ending.events if generation_of(one.session_id) > head.generation)
    if not begun:
        return Loaded(head, tuple(after))
    # The rest of that commit is still to be applied: to the session as it ended, one version ago.
    rest = ending.model_copy(update={"events": begun})
    return Loaded(head.model_copy(update={"version": head.version - 1}), (rest, *after))


def reloaded(conversation: ConversationId, commits: Iterable[Commit]) -> Loaded:
    """Return what the whole log says of a conversation whose head is damaged, unless something has left it."""
    found = loaded(None, commits)
    if found.damage is None and (missing := missing_from(found.commits)):
        head = f"the head of conversation {conversation} is damaged"
        return Loaded(damage=StoreDamaged(f"{head}, and its log does not say all: {missing}: {RESTORE}"))
    return found


def missing_from(commits: Iterable[Commit]) -> str | None:
    """Return what is missing from a log, of which there must be something, or None."""
    whole = Wholeness()
    empty = True
    for commit in commits:
        empty = False
        if missing := whole.missing(commit):
            return missing
    return "there is none" if empty else None
