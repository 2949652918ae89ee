"""The rules of sessions, as pure functions."""
