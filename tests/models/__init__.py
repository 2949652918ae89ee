"""Models: plain Python that says what AgentBus promises, and drivers that hold it to that, step by random step."""
