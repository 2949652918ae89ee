"""The composition root: where settings become a bus, a store and workers, each opened once and closed in order."""
