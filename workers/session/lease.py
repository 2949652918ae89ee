"""A lease: one subscription to a partition, from its first delivery to its end."""

from dataclasses import dataclass

from contracts.ids import Partition


@dataclass(slots=True, eq=False)
class Lease:
    """What came by one subscription may be worked on while its lease is valid; its commits carry its epoch."""

    partition: Partition
    epoch: int | None = None
    """The partition's epoch since the first turn; none before it."""
    valid: bool = True
    """Not any more once the subscription ended: its deliveries come again, perhaps to another worker."""
