"""What may not be left at the end."""

from agentbus.testing.evidence import Evidence
from agentbus.testing.verdict import Finding, Invariant, finding


def check_empty(evidence: Evidence) -> Finding:
    """Check that queues are empty and nothing is unacknowledged."""
    queues = evidence.queues or ()
    violations = (
        f"queue {one.queue} holds {one.ready} waiting and {one.unacked} unacknowledged"
        for one in queues
        if one.ready or one.unacked
    )
    return finding(Invariant.EMPTY, len(queues), violations)
