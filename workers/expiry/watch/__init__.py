"""Watching sessions by time: what is due, what is done about it, and when to look again."""
