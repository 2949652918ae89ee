"""Chat histories as people have them, read as inbound messages."""

from agentbus.workers.importers.port import History, HistoryFormat, HistoryOptions, HistoryUnreadable
from agentbus.workers.importers.reader import detect_format, read_history

__all__ = [
    # reading
    "read_history",
    "detect_format",
    # what reading takes and gives
    "History",
    "HistoryFormat",
    "HistoryOptions",
    "HistoryUnreadable",
]
