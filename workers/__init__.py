"""What works on sessions: the domain, the bus and the workers around it."""

if __name__ != "agentbus.workers":
    # The folder is at the top level of the repository: a module imported from there, too, would exist twice.
    raise ImportError("it is agentbus.workers: import it by that name", name=__name__)
