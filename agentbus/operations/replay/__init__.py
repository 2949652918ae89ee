"""Replaying chat histories: publish them, wait for them, and check that nothing was lost, doubled or reordered."""
