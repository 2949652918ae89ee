"""A whole AgentBus on servers of its own: workers as processes, a load, and what is seen of them from outside."""
