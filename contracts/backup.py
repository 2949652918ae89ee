"""Backups: their formats, and what is told of one."""

import re
from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field, StringConstraints

from agentbus.contracts.base import Announced, Id, Many, Timestamp

BACKUP_ID: Final = r"[0-9]{8}t[0-9]{9}z-[0-9a-f]{8}"
_DIGEST: Final = r"[0-9a-f]{64}"

BackupId = Annotated[str, StringConstraints(pattern=rf"^{BACKUP_ID}$")]
"""A backup's id: when it was begun, by UTC, to the millisecond, and eight made-up digits. In order of time."""

Digest = Annotated[str, StringConstraints(pattern=rf"^{_DIGEST}$")]
"""A SHA-256 in hexadecimal."""

Description = Annotated[str, StringConstraints(max_length=1_000)]


class BackupFormat(StrEnum):
    """How the files of a backup are written."""

    JSON = "json"
    """A JSON document a line: read by anything, runs nothing. The default."""
    JSON_GZ = "json_gz"
    """The same, compressed by gzip: about a tenth of the bytes."""
    JSON_ZST = "json_zst"
    """The same, compressed by Zstandard, where the package `zstandard` is installed."""
    PICKLE = "pickle"
    """Plain Python values, signed; read by Python alone."""
    PICKLE_GZ = "pickle_gz"
    """The same, compressed by gzip."""

    @property
    def is_pickle(self) -> bool:
        """Whether a key is needed to write and to read it."""
        return self in {BackupFormat.PICKLE, BackupFormat.PICKLE_GZ}


class FileRef(Announced):
    """A file of a backup, named by what is in it."""

    home: BackupId = Field(description="The backup that it was written for; later ones name it too.")
    digest: Digest = Field(description="Of its bytes, as they are kept.")
    format: BackupFormat
    encrypted: bool = False
    size: int = Field(ge=0, description="Its bytes, as they are kept.")
    plain: int = Field(ge=0, description="Bytes of its lines: decrypted, uncompressed, as JSON.")
    lines: int = Field(ge=0)


class Group(Announced):
    """Some files of one part of what a store holds, with the list of what is in them."""

    part: Id
    index: FileRef = Field(description="What is in the files: an entry a line.")
    files: Many[FileRef]
    things: int = Field(ge=0, description="Entries of the index.")

    @property
    def all(self) -> tuple[FileRef, ...]:
        """Its files, and the index."""
        return (*self.files, self.index)


class SessionMark(Announced):
    """A session as of a backup."""

    generation: int = Field(ge=1)
    version: int = Field(ge=0, description="The conversation's commit up to which it is there.")
    events: int = Field(ge=0, description="How many of its events are in the log; what was archived has left it.")
    messages: int = Field(ge=0, description="How many of these are messages.")
    digest: Digest = Field(description="Of these events, in their order.")


class Entry(Announced):
    """Something in a backup: where it is, and by what one sees that it has changed."""

    key: str = Field(description="A conversation's id, or what tells things of its part apart.")
    stamp: str = Field(default="", description="Another one: it has changed.")
    file: int = Field(default=0, ge=0, description="Of the group's files that in which it begins.")
    line: int = Field(default=0, ge=0, description="The line at which it begins there.")
    lines: int = Field(default=0, ge=0, description="It may go on in the files that follow.")
    sessions: Many[SessionMark] = ()
    again: bool = Field(default=False, description="To be read again next time, though the stamp be the same.")
    gone: bool = Field(default=False, description="It was there in an earlier backup, and is not any more.")


class Counts(Announced):
    """How much there is."""

    conversations: int = 0
    sessions: int = 0
    commits: int = 0
    messages: int = 0
    records: int = 0
    parked: int = 0
    damaged: int = Field(
        default=0, description="Conversations, records, ... that could not be read: they are not in it as of then."
    )


class Layer(Announced):
    """What one backup wrote. Of what several hold the latest is right."""

    backup: BackupId
    pages: Many[FileRef] = Field(description="Lists of its groups, one a line.")


class Manifest(Announced):
    """What a backup is: the root of all its files."""

    format: str
    version: int
    backup_id: BackupId
    created_at: Timestamp = Field(description="When it was begun: what happened later may be missing.")
    finished_at: Timestamp
    source: str = Field(description="The store, without a password.")
    epoch: int = Field(ge=0, description="The highest epoch of a partition when it was begun.")
    file_format: BackupFormat
    encrypted: bool = Field(default=False, description="Whether its files are encrypted with the store's data keys.")
    description: Description = ""
    tags: Many[Id] = ()
    base: BackupId | None = Field(default=None, description="The backup whose files it goes on from; it needs it not.")
    layers: Many[Layer] = Field(description="The latest first.")
    counts: Counts = Field(description="What it holds in all.")
    written: int = Field(ge=0, description="Bytes of the files that were written for it.")
    size: int = Field(ge=0, description="Bytes of all its files.")

    @property
    def is_complete(self) -> bool:
        """Whether all could be read that the store held."""
        return not self.counts.damaged


def is_backup_id(text: str) -> bool:
    """Whether a text has the form of a backup's id."""
    return re.fullmatch(BACKUP_ID, text) is not None
