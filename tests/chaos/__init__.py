"""Chaos: real broker, real store, real workers, real faults; then the checker decides what held.

`make chaos` runs everything, `make mutants` the mutation check alone. `QUICK=1`, `MODE=name`, `FAULT=name` and
`SEED=n` choose.
"""
