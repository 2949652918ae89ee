"""The invariants: each a function from evidence to a finding."""
