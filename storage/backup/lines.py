"""The lines of a backup's files: a thing each, as JSON, and the digests of sessions over their events."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from pydantic import Field

from agentbus.contracts.backup import SessionMark
from agentbus.contracts.base import Announced
from agentbus.contracts.errors import BackupDamaged
from agentbus.contracts.events import Commit, MessageAppended
from agentbus.contracts.ids import Partition, SessionId, generation_of
from agentbus.contracts.parked import ParkedInput
from agentbus.contracts.records import Record
from agentbus.contracts.session import SessionState
from agentbus.storage.port import Epoch, LastToken

SESSIONS: Final = "sessions"
RECORDS: Final = "records"
PARKED: Final = "parked"
EPOCHS: Final = "epochs"
TOKENS: Final = "tokens"
KEYS: Final = "keys"

PARTS: Final = (SESSIONS, RECORDS, PARKED, EPOCHS, TOKENS, KEYS)
"""The parts of a backup: the conversations with their sessions, the records, what is parked, the epochs of partitions,
the last tokens of locks. And the data keys that are kept in the store itself, wrapped: these alone are never encrypted
once more."""


class _Epoch(Announced):
    group: str
    partition: int = Field(ge=0)
    epoch: int = Field(ge=0)


class _Token(Announced):
    name: str
    token: int = Field(ge=0)


class _Line(Announced):
    """One of these."""

    head: SessionState | None = None
    commit: Commit | None = None
    record: Record | None = None
    parked: ParkedInput | None = None
    epoch: _Epoch | None = None
    token: _Token | None = None


Thing = SessionState | Commit | Record | ParkedInput | Epoch | LastToken
"""What a line says."""


def head_line(head: SessionState) -> bytes:
    """Return the line of a head."""
    return b'{"head":' + head.model_dump_json().encode() + b"}"


def record_line(record: Record) -> bytes:
    """Return the line of a record."""
    return b'{"record":' + record.model_dump_json().encode() + b"}"


def parked_line(parked: ParkedInput) -> bytes:
    """Return the line of a parked input."""
    return b'{"parked":' + parked.model_dump_json().encode() + b"}"


def epoch_line(epoch: Epoch) -> bytes:
    """Return the line of a partition's last epoch."""
    return b'{"epoch":' + _Epoch(**epoch._asdict()).model_dump_json().encode() + b"}"


def token_line(token: LastToken) -> bytes:
    """Return the line of a lock's last token."""
    return b'{"token":' + _Token(**token._asdict()).model_dump_json().encode() + b"}"


def thing_in(line: bytes, where: str) -> Thing:
    """Return what a line says. Raises BackupDamaged, naming `where` it is."""
    try:
        read = _Line.model_validate_json(line)
    except (ValueError, RecursionError) as error:
        raise BackupDamaged(f"{where}: a line says what this release can't read: {_kind(error)}", file=where) from None
    match read:
        case _Line(epoch=_Epoch() as epoch):
            return Epoch(epoch.group, Partition(epoch.partition), epoch.epoch)
        case _Line(token=_Token() as token):
            return LastToken(token.name, token.token)
    found = read.commit or read.head or read.record or read.parked
    if found is None:
        raise BackupDamaged(f"{where}: a line says nothing that this release knows", file=where)
    return found


class CommitLine(NamedTuple):
    """A commit's line, and those of its events."""

    line: bytes
    events: tuple[bytes, ...]


def commit_line(commit: Commit) -> CommitLine:
    """Return the line of a commit. Its events are written once, for the digests too."""
    events = tuple(event.model_dump_json().encode() for event in commit.events)
    rest = commit.model_dump_json(exclude={"events"}).encode()
    return CommitLine(b'{"commit":' + rest[:-1] + b',"events":[' + b",".join(events) + b"]}}", events)


class SessionDigests:
    """Takes the digests of a conversation's sessions, a commit after the other."""

    def __init__(self) -> None:
        self._sessions: dict[SessionId, _Taken] = {}

    def add(self, commit: Commit, events: Iterable[bytes] | None = None) -> None:
        """Take the next commit; `events` are the lines of its events, if they were written already."""
        lines = events if events is not None else commit_line(commit).events
        for event, line in zip(commit.events, lines, strict=True):
            taken = self._sessions.setdefault(event.session_id, _Taken())
            taken.digest.update(line + b"\n")
            taken.events += 1
            taken.last = event.sequence
            taken.version = commit.version
            taken.messages += isinstance(event, MessageAppended)

    def events_of(self, session: SessionId) -> tuple[int, int]:
        """Return how many events of a session there were, and the sequence of the last one."""
        taken = self._sessions.get(session, _NOTHING)
        return taken.events, taken.last

    def marks(self, heads: Mapping[SessionId, SessionState] | None = None) -> tuple[SessionMark, ...]:
        """Return what is to be told of each session, by its generation: those with a head, and those with events."""
        heads = heads or {}
        found = sorted({*self._sessions, *heads}, key=generation_of)
        return tuple(_mark(one, self._sessions.get(one, _NOTHING), heads.get(one)) for one in found)


class _Taken:
    """What was taken of a session so far."""

    def __init__(self) -> None:
        self.digest: Any = hashlib.sha256()
        self.events = 0
        self.last = 0
        self.version = 0
        self.messages = 0


_NOTHING: Final = _Taken()


def _mark(session: SessionId, taken: _Taken, head: SessionState | None) -> SessionMark:
    return SessionMark(
        generation=generation_of(session),
        version=max(taken.version, head.version if head else 0),
        events=taken.events,
        messages=taken.messages,
        digest=taken.digest.hexdigest(),
    )


def _kind(error: Exception) -> str:
    return type(error).__name__
