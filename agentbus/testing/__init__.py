"""For those who test systems built on AgentBus: the checker of what it promises."""

from agentbus.testing.checker import check, read_evidence
from agentbus.testing.evidence import SETTLE, Evidence, Handling, Ownership, Published, QueueLeft, ZombieWindow
from agentbus.testing.tally import Tally, tally
from agentbus.testing.verdict import Finding, Invariant, Outcome, Verdict

__all__ = [
    # What was seen
    "SETTLE",
    "Evidence",
    "Handling",
    "Ownership",
    "Published",
    "QueueLeft",
    "ZombieWindow",
    # What follows from it
    "Finding",
    "Invariant",
    "Outcome",
    "Tally",
    "Verdict",
    # Checking
    "check",
    "read_evidence",
    "tally",
]
