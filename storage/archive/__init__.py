"""The archive: sessions that left the store, each as one verified file in a folder that any fsspec URL names."""

from storage.archive.entries import ArchiveEntry
from storage.archive.format import Contents
from storage.archive.store import ArchiveStore, open_archive

__all__ = ["ArchiveEntry", "ArchiveStore", "Contents", "open_archive"]
