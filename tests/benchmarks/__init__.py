"""`make bench`: AgentBus beside what teams write instead, on one broker and one store, in one run."""
