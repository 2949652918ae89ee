"""What works on sessions: the domain, the bus and the workers around it."""
