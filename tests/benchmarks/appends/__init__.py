"""`make appends`: what a message costs in a session of 100, 10,000 and 100,000 messages, on every kind of store."""
