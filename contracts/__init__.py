"""What travels on the bus and what is kept in the store: frozen models and pure functions, no I/O."""
