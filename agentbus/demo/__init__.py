"""The demonstration: a whole AgentBus in one process, at work."""
