"""The session worker: lanes, actors, the committer."""
