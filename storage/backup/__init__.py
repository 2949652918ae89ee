"""Backups: what a store holds, in a folder that any fsspec URL names, checked byte by byte, each readable by itself."""

from agentbus.storage.backup.lines import SessionDigests
from agentbus.storage.backup.place import BackupPlace, Listed, open_backups
from agentbus.storage.backup.reading import BackupReader, KeptConversation

__all__ = ["BackupPlace", "BackupReader", "KeptConversation", "Listed", "SessionDigests", "open_backups"]
