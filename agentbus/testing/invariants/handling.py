"""Who worked on what, and when: one worker at a time for each conversation."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf

from agentbus.contracts.ids import ConversationId
from agentbus.testing.evidence import Evidence, Handling
from agentbus.testing.invariants.announcements import announced_twice_differently
from agentbus.testing.invariants.commits import Tallies
from agentbus.testing.verdict import Finding, Invariant, finding


@dataclass(frozen=True, slots=True)
class Overlap:
    """Two workers handled one conversation at a time."""

    first: Handling
    second: Handling

    @property
    def start(self) -> float:
        """When the second one began."""
        return self.second.start

    @property
    def end(self) -> float:
        """When the first of the two let go."""
        return min(_end(self.first), _end(self.second))


def check_one_owner(evidence: Evidence, tallies: Tallies) -> Finding:
    """Check that no two workers handled a conversation at a time, except where a zombie may have."""
    if evidence.handlings is None:
        return finding(Invariant.ONE_OWNER, 0, ())
    by_conversation: defaultdict[ConversationId, list[Handling]] = defaultdict(list)
    for handling in evidence.handlings:
        by_conversation[handling.conversation_id].append(handling)
    doubled = announced_twice_differently(evidence)
    doubled |= {conversation for conversation, one in tallies.items() if conversation and one.duplicated}

    def violations() -> Iterator[str]:
        for conversation, handlings in by_conversation.items():
            overlaps = list(overlaps_of(handlings))
            for overlap in overlaps:
                if not _is_excused(overlap, evidence):
                    yield f"{conversation}: {_words(overlap)}, outside of any zombie window"
            if overlaps and conversation in doubled:
                yield f"{conversation}: {_words(overlaps[0])}, and something took effect twice"

    return finding(Invariant.ONE_OWNER, len(evidence.handlings), violations())


def overlaps_of(handlings: Sequence[Handling]) -> Iterator[Overlap]:
    """Yield the pairs of handlings of one conversation, by different workers, that overlap."""
    active: list[Handling] = []
    for handling in sorted(handlings, key=lambda one: one.start):
        active = [one for one in active if _end(one) > handling.start]
        for other in active:
            if other.worker != handling.worker and _end(handling) > handling.start:
                yield Overlap(other, handling)
        active.append(handling)


def _is_excused(overlap: Overlap, evidence: Evidence) -> bool:
    workers = (overlap.first.worker, overlap.second.worker)
    return any(window.covers(worker, overlap.start, overlap.end) for window in evidence.zombies for worker in workers)


def _words(overlap: Overlap) -> str:
    first, second = overlap.first, overlap.second
    return (
        f"{second.worker} (epoch {second.epoch}) began at {second.start:.3f} "
        f"while {first.worker} (epoch {first.epoch}) was at work until {_end(first):.3f}"
    )


def _end(handling: Handling) -> float:
    return inf if handling.end is None else handling.end
