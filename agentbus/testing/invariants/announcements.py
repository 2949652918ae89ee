"""What subscribers have to receive."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from agentbus.contracts.envelope import EventEnvelope
from agentbus.contracts.events import AnyEvent
from agentbus.contracts.ids import ConversationId
from agentbus.testing.evidence import Evidence
from agentbus.testing.verdict import Finding, Invariant, finding

Received = Mapping[ConversationId, Sequence[EventEnvelope]]


def check_announced(evidence: Evidence) -> Finding:
    """Check that each committed event was received, as it was committed, first announcements in order."""
    if evidence.events is None:
        return finding(Invariant.ANNOUNCED, 0, ())
    received: defaultdict[ConversationId, list[EventEnvelope]] = defaultdict(list)
    for envelope in evidence.events:
        received[envelope.partitionkey].append(envelope)

    def violations() -> Iterator[str]:
        for conversation in dict.fromkeys([*evidence.commits, *received]):
            events = [event for commit in evidence.commits.get(conversation, ()) for event in commit.events]
            for words in _compared(events, received[conversation]):
                yield f"{conversation}: {words}"

    return finding(Invariant.ANNOUNCED, len(evidence.events), violations())


def announced_twice_differently(evidence: Evidence) -> set[ConversationId]:
    """Return the conversations with an event id under which two different events were announced."""
    first: dict[str, EventEnvelope] = {}
    return {
        envelope.partitionkey
        for envelope in evidence.events or ()
        if first.setdefault(envelope.id, envelope).data != envelope.data
    }


def _compared(committed: Sequence[AnyEvent], received: Sequence[EventEnvelope]) -> Iterator[str]:
    expected = {event.event_id: event for event in committed}
    first: dict[str, int] = {}
    for position, envelope in enumerate(received):
        first.setdefault(envelope.id, position)
        if envelope.id not in expected:
            yield f"event {envelope.id} was announced and never committed"
        elif envelope.data != expected[envelope.id]:
            yield f"event {envelope.id} was announced otherwise than it was committed"
    latest = -1
    for event_id in expected:
        if event_id not in first:
            yield f"event {event_id} was committed and never announced"
        elif first[event_id] < latest:
            yield f"event {event_id} was first announced before an earlier one"
        latest = max(latest, first.get(event_id, -1))
