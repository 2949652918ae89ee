"""Chat histories as people have them, read as inbound messages."""

from workers.importers.port import History, HistoryFormat, HistoryOptions, HistoryUnreadable
from workers.importers.reader import detect_format, read_history

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
