"""The tour: every public name of `agentbus.sessions`, used once on every kind of storage and set-up."""
