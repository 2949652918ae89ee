"""The way out: replies are sent to their channels, and what became of them is reported to their sessions' owners."""
