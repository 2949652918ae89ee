"""How partitions are spread over the live workers."""

from collections import Counter
from collections.abc import Iterator
from math import inf

from agentbus.testing.evidence import Evidence, Ownership
from agentbus.testing.verdict import Finding, Invariant, finding


def check_balance(evidence: Evidence) -> Finding:
    """Check the samples that were taken when things had settled."""
    settled = list(_settled(evidence))
    violations = (
        f"at {sample.at:.3f}: {words}" for sample in settled for words in _uneven(sample, evidence.partitions)
    )
    return finding(Invariant.BALANCE, len(settled), violations)


def _settled(evidence: Evidence) -> Iterator[Ownership]:
    """Yield the samples that come later than `settle` after the last change; the first sample counts as one."""
    before: set[str] | None = None
    changed = -inf
    for sample in sorted(evidence.ownership or (), key=lambda one: one.at):
        workers = set(sample.owned)
        if workers != before:
            changed = sample.at
        before = workers
        declared = max((at for at in evidence.changes if at <= sample.at), default=-inf)
        if workers and sample.at - max(changed, declared) > evidence.settle:
            yield sample


def _uneven(sample: Ownership, partitions: int | None) -> Iterator[str]:
    counts = {worker: len(owned) for worker, owned in sample.owned.items()}
    if max(counts.values()) - min(counts.values()) > 1:
        shown = ", ".join(f"{worker} has {count}" for worker, count in sorted(counts.items()))
        yield f"partitions are spread unevenly: {shown}"
    if partitions is not None:
        owners = Counter[int](partition for owned in sample.owned.values() for partition in owned)
        wrong = {partition: owners[partition] for partition in range(partitions) if owners[partition] != 1}
        if wrong:
            shown = ", ".join(f"{partition} has {count}" for partition, count in wrong.items())
            yield f"partitions without exactly one owner: {shown}"
