"""The load generator: a process of its own that publishes messages and counts the events that come of them."""
