"""What travels on the bus and what is kept in the store: frozen models and pure functions, no I/O."""

if __name__ != "agentbus.contracts":
    # The folder is at the top level of the repository: a module imported from there, too, would exist twice.
    raise ImportError("it is agentbus.contracts: import it by that name", name=__name__)
