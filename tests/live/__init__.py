"""Thousands of clients that follow events of one process, which is killed in the middle: each gets each event once."""
