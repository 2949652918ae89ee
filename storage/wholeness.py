"""Whether a log still tells all that happened: what was archived or erased has left it, and does not come back."""

from collections.abc import Iterable

from contracts.errors import StoreDamaged
from contracts.events import Commit, SessionStarted
from contracts.ids import ConversationId, generation_of
from contracts.session import SessionState
from storage.damage import RESTORE
from storage.port import Loaded


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


def loaded(head: SessionState | None, commits: Iterable[Commit]) -> Loaded:
    """Return a head with the commits after it. If one of them can't be read, that is the damage of it all."""
    try:
        return Loaded(head, tuple(commits))
    except StoreDamaged as damage:
        return Loaded(damage=damage)


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
