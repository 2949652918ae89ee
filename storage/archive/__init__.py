"""The archive: sessions that left the store, each as one verified file in a folder that any fsspec URL names."""

from agentbus.storage.archive.entries import ArchiveEntry
from agentbus.storage.archive.format import Contents
from agentbus.storage.archive.store import ArchiveStore, open_archive

__all__ = ["ArchiveEntry", "ArchiveStore", "Contents", "open_archive"]
