"""Who owns which partition: rendezvous hashing with bounded loads.

Each worker has a weight for each partition (a hash of both names), and a partition goes to the worker with the highest
weight that still has room; rooms differ by at most one. Everyone who knows the same workers comes to the same result,
and a worker that comes or goes moves few partitions beside its own share. What somebody asked for goes before it, and
moves nothing else: the others stay where they are.

Source: Thaler and Ravishankar, "A Name-Based Mapping Scheme for Rendezvous" (1996); bounded loads after Mirrokni,
Thorup and Zadimoghaddam, "Consistent Hashing with Bounded Loads" (2016).
"""

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from agentbus.contracts.ids import Partition
from agentbus.contracts.members import WorkerId


@dataclass(frozen=True, slots=True)
class Assignment:
    """The workers of one partition: its owner, and the one that takes over when the owner goes."""

    owner: WorkerId
    standby: WorkerId | None


def ranges(partitions: Collection[Partition]) -> str:
    """Return partitions as people write them: `0-3, 7`; "" for none."""
    runs: list[list[int]] = []
    for partition in sorted(partitions):
        if runs and runs[-1][-1] == partition - 1:
            runs[-1].append(partition)
        else:
            runs.append([partition])
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)


def assign(
    partitions: int, workers: Collection[WorkerId], handed: Mapping[Partition, WorkerId] = MappingProxyType({})
) -> dict[Partition, Assignment]:
    """Return the owner and the standby of every partition; nothing without workers.

    The numbers of partitions that workers own differ by at most one, but for those that are `handed` to one: each of
    them goes to its worker, if that is there.
    """
    if not workers:
        return {}
    weights = {
        (Partition(partition), worker): _weight(partition, worker)
        for partition in range(partitions)
        for worker in set(workers)
    }
    owners = _owners(partitions, weights)
    owners |= {partition: worker for partition, worker in handed.items() if partition in owners and worker in workers}
    return {
        partition: Assignment(owner, heir(partition, owner, workers)) for partition, owner in sorted(owners.items())
    }


def heir(partition: Partition, owner: WorkerId, workers: Collection[WorkerId]) -> WorkerId | None:
    """Return who comes next for a partition after its owner; None if nobody else is there."""
    others = [worker for worker in workers if worker != owner]
    return max(others, key=lambda worker: (_weight(partition, worker), worker), default=None)


def _owners(partitions: int, weights: Mapping[tuple[Partition, WorkerId], bytes]) -> dict[Partition, WorkerId]:
    """Give each partition to the heaviest worker with room, heaviest pairs first."""
    workers = {worker for _, worker in weights}
    room, with_one_more = divmod(partitions, len(workers))
    owned = dict.fromkeys(workers, 0)
    owners: dict[Partition, WorkerId] = {}
    for partition, worker in sorted(weights, key=lambda pair: (weights[pair], pair), reverse=True):
        if partition in owners or owned[worker] > room:
            continue
        if owned[worker] == room:
            if not with_one_more:
                continue
            with_one_more -= 1
        owners[partition] = worker
        owned[worker] += 1
    return owners


def _weight(partition: int, worker: WorkerId) -> bytes:
    return hashlib.blake2b(f"{partition}/{worker}".encode(), digest_size=8).digest()
