"""Attack: a real broker, a real store, real workers, and all that somebody hostile may send; then a ledger of it.

`make attack` sends 20,000 hostile messages beside good ones and fuzzes every parser of outside bytes. `QUICK=1` and
`SEED=n` choose.
"""
