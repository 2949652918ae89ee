"""Moving ended sessions to the archive and back, and rewriting what the store has of them."""
