"""Where sessions are kept: one port, many stores."""

if __name__ != "agentbus.storage":
    # The folder is at the top level of the repository: a module imported from there, too, would exist twice.
    raise ImportError("it is agentbus.storage: import it by that name", name=__name__)
