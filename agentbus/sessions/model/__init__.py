"""What the session API hands out: contexts, messages, and the small types in them."""
