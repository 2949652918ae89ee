"""What the committed histories have to keep: once, in order, without gaps."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from agentbus.contracts.events import Commit
from agentbus.contracts.ids import ConversationId, InputId, SessionId
from agentbus.contracts.parked import ParkedStatus
from agentbus.testing.evidence import Evidence
from agentbus.testing.tally import Tally, tally
from agentbus.testing.verdict import Finding, Invariant, finding

Tallies = Mapping[ConversationId | None, Tally]


def tallies(evidence: Evidence) -> Tallies:
    """Compare, for each conversation, what was published with what was committed.

    An input that was parked because it could not be read has no conversation there: its id alone tells.
    """
    attempts: defaultdict[ConversationId | None, list[tuple[InputId, bool]]] = defaultdict(list)
    for one in evidence.published:
        attempts[one.conversation_id].append((one.input_id, one.confirmed))
    parked: defaultdict[ConversationId | None, set[str]] = defaultdict(set)
    replayed: defaultdict[ConversationId | None, set[str]] = defaultdict(set)
    for entry in evidence.parked:
        kind = replayed if entry.status is ParkedStatus.REPLAYED else parked
        kind[entry.conversation_id].add(entry.message_id)
    return {
        conversation: tally(
            attempts[conversation],
            [input_id for commit in _history(evidence, conversation) for input_id in commit.applied],
            parked=parked[conversation] | parked[None],
            replayed=replayed[conversation] | replayed[None],
        )
        for conversation in dict.fromkeys([*attempts, *evidence.commits])
    }


def check_committed_once(all_of_them: Tallies) -> Finding:
    """Check that every confirmed input was committed exactly once or parked."""

    def violations() -> Iterator[str]:
        for conversation, one in all_of_them.items():
            for input_id in one.lost:
                yield f"{conversation}: {input_id} was confirmed, and is neither committed nor parked"
            for input_id in one.duplicated:
                yield f"{conversation}: {input_id} was committed more than once"
            for input_id in one.unknown:
                yield f"{conversation}: {input_id} was committed and never published"

    checked = sum(len(one.committed) + len(one.parked) + len(one.lost) for one in all_of_them.values())
    return finding(Invariant.COMMITTED_ONCE, checked, violations())


def check_order(all_of_them: Tallies) -> Finding:
    """Check that inputs were committed in the order of their publishing."""
    violations = (
        f"{conversation}: {input_id} was committed after an input that was published later"
        for conversation, one in all_of_them.items()
        for input_id in one.reordered
    )
    return finding(Invariant.ORDER, sum(len(one.committed) for one in all_of_them.values()), violations)


def check_log(evidence: Evidence) -> Finding:
    """Check versions, event numbers and epochs of every log."""
    violations = (
        f"{conversation}: {words}" for conversation, commits in evidence.commits.items() for words in _log(commits)
    )
    return finding(Invariant.LOG, sum(map(len, evidence.commits.values())), violations)


def _log(commits: Sequence[Commit]) -> Iterator[str]:
    epoch = 0
    sequences: defaultdict[SessionId, int] = defaultdict(int)
    for expected, commit in enumerate(commits, start=1):
        if commit.version != expected:
            yield f"version {commit.version} stands where {expected} belongs"
        if commit.epoch < epoch:
            yield f"version {commit.version} has epoch {commit.epoch}, after epoch {epoch}"
        epoch = max(epoch, commit.epoch)
        for event in commit.events:
            before = sequences[event.session_id]
            if event.sequence != before + 1:
                yield f"version {commit.version} has event {event.event_id} after number {before}"
            sequences[event.session_id] = event.sequence


def _history(evidence: Evidence, conversation: ConversationId | None) -> Sequence[Commit]:
    return () if conversation is None else evidence.commits.get(conversation, ())
