"""Names of archived sessions: what is in a file is in its name, and no name leads out of the folder."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from agentbus.contracts.expiry import ArchiveRef
from agentbus.contracts.ids import SessionId

SESSIONS: Final = "sessions"
NOTES: Final = "notes"

_SESSION: Final = re.compile(r"[a-z2-7]{26}\.[1-9][0-9]{0,8}")
_FILE: Final = re.compile(r"([0-9]{1,19})-([0-9a-f]{64})\.jsonl\.gz")
_NOTE: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,99}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveEntry:
    """A file of the archive, as its name tells."""

    session_id: SessionId
    sequence: int
    """The session's last event in it."""
    digest: str
    """SHA-256 of its lines, uncompressed."""
    url: str
    size: int
    """Bytes, compressed."""
    at: datetime
    """When it was written."""

    def ref(self, messages: int) -> ArchiveRef:
        """Return what an event says of it."""
        return ArchiveRef(url=self.url, digest=self.digest, sequence=self.sequence, messages=messages, at=self.at)


def session_folder(session: SessionId) -> str:
    """Return the folder of a session's files, within the archive. Raises ValueError for what is no session id."""
    if not _SESSION.fullmatch(session):
        raise ValueError(f"{session!r} is no session id")
    return f"{SESSIONS}/{session[:2]}/{session}"


def file_name(sequence: int, digest: str) -> str:
    """Return the name of a session's file: a session that is archived again never overwrites what is there."""
    return f"{sequence}-{digest}.jsonl.gz"


def read_file_name(name: str) -> tuple[int, str] | None:
    """Return the sequence and the digest that a file's name tells, or None for some other file."""
    found = _FILE.fullmatch(name)
    return (int(found[1]), found[2]) if found else None


def is_session(name: str) -> bool:
    """Whether a folder's name is a session's."""
    return _SESSION.fullmatch(name) is not None


def note_path(name: str) -> str:
    """Return the place of a note, within the archive. Raises ValueError for a name that is none."""
    if not _NOTE.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a note")
    return f"{NOTES}/{name}.json"
