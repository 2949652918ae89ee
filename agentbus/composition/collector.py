"""Garbage collection of a worker's process: rare, and not over what stays for good."""

import gc
from typing import Final

THRESHOLDS: Final = (50_000, 20, 100)
"""Allocations before a collection of the youngest generation, and how often it moves on to the older ones."""


def calm_collector() -> None:
    """Take what was loaded at the start out of collections, and make collections rare. Call it once, after the start.

    Measured here: full collections took 62 to 95 ms without, 6 to 19 ms with it, and were the tail of the latency.
    Workers make few reference cycles: what they drop is freed by its reference count.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
