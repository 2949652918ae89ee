"""Failpoints: places in a round at which a session worker, once armed, kills itself."""

from enum import StrEnum


class Failpoint(StrEnum):
    """Where a worker may die."""

    BEFORE_APPEND = "before_append"
    """Nothing is committed yet."""
    AFTER_APPEND = "after_append"
    """Committed; the heads are not written."""
    AFTER_HEAD = "after_head"
    """Heads written; nothing is announced."""
    AFTER_PUBLISH = "after_publish"
    """Announced; nothing is acknowledged."""
    BEFORE_FLUSH = "before_flush"
    """Announced, and the conversations' next turns may be under way; the heads are not known to be durable."""
    AFTER_FLUSH = "after_flush"
    """The heads are durable; nothing is acknowledged."""
