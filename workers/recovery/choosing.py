"""What would become of each session of a conversation, by strategy: decided here, without I/O."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from agentbus.contracts.recovery import Outcome, RecoveryStrategy, RestoredSession
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.workers.domain.redaction import is_erased
from agentbus.workers.recovery.comparing import Compared, Relation

_HAS_ALL = "it has all of it"
_THERE = "it is there"


class Act(Enum):
    """What is done to a session."""

    NOTHING = "nothing"
    COMMITS = "commits"
    """The conversation's commits that are missing are appended."""
    CONTENT = "content"
    """What the backup has of it is brought into it, or into its conversation's latest session."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What becomes of a session."""

    head: SessionState
    """As it was in the backup."""
    outcome: Outcome
    reason: str = ""
    act: Act = Act.NOTHING
    replace: bool = False
    """Whether what it has now is put aside."""

    @property
    def row(self) -> RestoredSession:
        """What is told of it."""
        return RestoredSession(session_id=self.head.session_id, outcome=self.outcome, reason=self.reason)


def choose(heads: Sequence[SessionState], there: Compared, strategy: RecoveryStrategy) -> list[Choice]:
    """Return what becomes of each session by a strategy that is not to ask anybody."""
    match there.relation:
        case Relation.NEW:
            return [Choice(head, Outcome.CREATED, act=Act.COMMITS) for head in heads]
        case Relation.SAME:
            return [_as_deleted(head, there, strategy) or Choice(head, Outcome.SAME) for head in heads]
        case Relation.BEHIND:
            return [_behind(head, there, strategy) for head in heads]
        case Relation.AHEAD:
            return [_ahead(head, there, strategy) for head in heads]
        case Relation.OTHER:
            return [_other(head, heads[-1], there, strategy) for head in heads]


def _behind(head: SessionState, there: Compared, strategy: RecoveryStrategy) -> Choice:
    if is_erased(there.state):
        return Choice(head, Outcome.SKIPPED, "its conversation was erased")
    if strategy is RecoveryStrategy.SKIP:
        return Choice(
            head, Outcome.SKIPPED, _THERE if head.session_id in there.sessions else "its conversation is there"
        )
    if head.session_id in there.sessions:
        return Choice(head, Outcome.MERGED, "the store has an older state of it", Act.COMMITS)
    return Choice(head, Outcome.CREATED, act=Act.COMMITS)


def _ahead(  # noqa: PLR0911 - a case each
    head: SessionState, there: Compared, strategy: RecoveryStrategy
) -> Choice:
    if deleted := _as_deleted(head, there, strategy):
        return deleted
    now = there.sessions.get(head.session_id)
    if now is None or is_erased(now):
        return Choice(head, Outcome.SKIPPED, "it was erased")
    if now.sequence == head.sequence and now.status is head.status:
        return Choice(head, Outcome.SAME)
    if now.status is SessionStatus.ARCHIVED:
        return Choice(head, Outcome.SKIPPED, "it is in the archive: agentbus archive restore")
    if strategy is RecoveryStrategy.SKIP:
        return Choice(head, Outcome.SKIPPED, _THERE)
    if strategy is RecoveryStrategy.MERGE:
        return Choice(head, Outcome.SAME, _HAS_ALL)
    if head.generation != there.state.generation:
        return Choice(head, Outcome.SKIPPED, "it has ended, and its conversation's next session began")
    if not _comes_back(head):
        return Choice(head, Outcome.SKIPPED, f"it was {head.status} already")
    return Choice(head, Outcome.REPLACED, act=Act.CONTENT, replace=True)


def _as_deleted(head: SessionState, there: Compared, strategy: RecoveryStrategy) -> Choice | None:
    """Return what becomes of a session that was deleted since; None for one that was not."""
    now = there.sessions.get(head.session_id)
    if now is None or now.status is not SessionStatus.DELETED or is_erased(now):
        return None
    if not _comes_back(head):
        return Choice(head, Outcome.SAME, f"it was {head.status} already")
    latest = head.generation == there.state.generation
    stripped = now.archive is not None
    if stripped and not latest:
        return Choice(
            head, Outcome.SKIPPED, "it was deleted, its history has left the store, and another session began"
        )
    # With its history still in the log, what it holds is enough.
    replace = latest and (stripped or strategy is RecoveryStrategy.REPLACE)
    return Choice(head, Outcome.CREATED, "it was deleted since", Act.CONTENT, replace)


def _other(  # noqa: PLR0911 - a case each
    head: SessionState, latest: SessionState, there: Compared, strategy: RecoveryStrategy
) -> Choice:
    """Decide about a session of a conversation in which other things happened: its latest one may be brought back."""
    now = there.state
    if is_erased(now):
        return Choice(head, Outcome.SKIPPED, "its conversation was erased")
    if (same := there.sessions.get(head.session_id)) and _marks(same) == _marks(head):
        return Choice(head, Outcome.SAME)
    if head is not latest:
        return Choice(head, Outcome.SKIPPED, "its conversation has other sessions now")
    if not _comes_back(head):
        return Choice(head, Outcome.SKIPPED, f"it was {head.status} already")
    if now.status is SessionStatus.ARCHIVED:
        return Choice(head, Outcome.SKIPPED, f"its conversation's session {now.session_id} is in the archive")
    into = "" if now.session_id == head.session_id else f"into {now.session_id}"
    if now.status is SessionStatus.DELETED:
        return Choice(head, Outcome.CREATED, into, Act.CONTENT, replace=True)
    if strategy is RecoveryStrategy.SKIP:
        return Choice(head, Outcome.SKIPPED, "its conversation has another session now")
    if strategy is RecoveryStrategy.REPLACE:
        return Choice(head, Outcome.REPLACED, into, Act.CONTENT, replace=True)
    return Choice(head, Outcome.MERGED, into, Act.CONTENT)


def _marks(head: SessionState) -> tuple[object, ...]:
    """Return by what one sees that a session is the same, whatever the numbers of its commits."""
    return head.created_at, head.last_activity, head.sequence, head.message_count, head.status


def _comes_back(head: SessionState) -> bool:
    """Whether a session was there when the backup was made: not put away or deleted by then."""
    return head.status not in {SessionStatus.ARCHIVED, SessionStatus.DELETED}
