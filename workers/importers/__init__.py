"""Chat histories as people have them, read as inbound messages."""

from agentbus.workers.importers.port import (
    History,
    HistoryFormat,
    HistoryOptions,
    HistoryUnreadable,
    NotUnderstood,
    Reading,
)
from agentbus.workers.importers.reader import detect_format, read_history, read_with

__all__ = [
    # reading
    "read_history",
    "read_with",
    "detect_format",
    # what reading takes and gives
    "History",
    "HistoryFormat",
    "HistoryOptions",
    "HistoryUnreadable",
    "NotUnderstood",
    "Reading",
]
