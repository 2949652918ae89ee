"""AgentBus: the session backbone behind chat systems."""
