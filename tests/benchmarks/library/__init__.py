"""`make library`: an append through `agentbus.sessions` on every kind of store, beside other session libraries."""
