"""The lines of an archived session: a header, the head, the commits with the session's events, a trailer. JSON each.

The same session gives the same lines, so that its digest tells whether it is whole, and whether what was restored is
what was archived.
"""

import hashlib
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from agentbus.contracts.documents import json_in
from agentbus.contracts.errors import ArchiveDamaged, TransitionForbidden
from agentbus.contracts.events import Commit, MessageAppended
from agentbus.contracts.ids import SessionId
from agentbus.contracts.session import SessionState

FORMAT: Final = "agentbus.archive"
VERSION: Final = 1

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What a file was found to hold when it was read to its end."""

    head: SessionState
    digest: str
    commits: int
    events: int
    messages: int


def own_part(commit: Commit, session: SessionId) -> Commit:
    """Return a commit with the events of one session alone: at a reset it holds those of two."""
    return commit.model_copy(update={"events": tuple(one for one in commit.events if one.session_id == session)})


class Tally:
    """Counts lines and takes their digest, while they are written or read. Refuses what is not a session's next."""

    def __init__(self, head: SessionState) -> None:
        self.head = head
        self.commits = 0
        self.events = 0
        self.messages = 0

    def add(self, commit: Commit) -> bool:
        """Count a commit; return whether its events are the session's next ones."""
        expected = range(self.events + 1, self.events + 1 + len(commit.events))
        follows = [event.sequence for event in commit.events] == list(expected)
        self.commits += 1
        self.events += len(commit.events)
        self.messages += sum(isinstance(event, MessageAppended) for event in commit.events)
        return follows

    def trailer(self) -> dict[str, int]:
        """Return the counts, as the trailer has them."""
        return {"commits": self.commits, "events": self.events, "messages": self.messages}


async def lines_of(head: SessionState, commits: AsyncIterator[Commit]) -> AsyncIterator[bytes]:
    """Yield the lines of a session whose head and commits are given; other sessions' events in these are left out.

    Raises TransitionForbidden if the commits don't hold every event up to the head: what left the log is in the
    archive already.
    """
    session, tally = head.session_id, Tally(head)
    yield _line(format=FORMAT, version=VERSION, session_id=session, events=head.sequence, messages=head.message_count)
    yield b'{"head":' + head.model_dump_json().encode() + b"}\n"
    async with closing(commits):
        async for commit in commits:
            own = own_part(commit, session)
            if not own.events:
                continue
            if not tally.add(own):
                break
            yield b'{"commit":' + own.model_dump_json().encode() + b"}\n"
    if tally.events != head.sequence:
        raise TransitionForbidden(
            f"the log does not hold all {head.sequence} events of session {session} (gap at {tally.events}): "
            "it was archived or erased meanwhile"
        )
    yield _line(**tally.trailer())


async def digest_of_session(head: SessionState, commits: AsyncIterator[Commit]) -> str:
    """Return the digest that a session's file would have. Raises TransitionForbidden as `lines_of` does."""
    digest = hashlib.sha256()
    async with closing(lines_of(head, commits)) as lines:
        async for line in lines:
            digest.update(line)
    return digest.hexdigest()


class Reader:
    """Reads lines one after the other, and holds them to what they should be.

    Raises ArchiveDamaged, naming `place`.
    """

    def __init__(self, session: SessionId, place: str) -> None:
        self._session = session
        self._place = place
        self._digest = hashlib.sha256()
        self._begun = False
        self._tally: Tally | None = None
        self._ended = False

    def feed(self, line: bytes) -> SessionState | Commit | None:
        """Return the head or the commit that a line holds; None for the header and the trailer."""
        self._digest.update(line)
        if not line.endswith(b"\n") or self._ended:
            raise self._damaged("cut off, or more than there should be")
        try:
            return self._read(line)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise self._damaged(str(error).splitlines()[0] if str(error) else repr(error)) from None

    def contents(self) -> Contents:
        """Return what was read, once all was."""
        if not self._ended or self._tally is None:
            raise self._damaged("its end is missing")
        return Contents(head=self._tally.head, digest=self._digest.hexdigest(), **self._tally.trailer())

    def _read(self, line: bytes) -> SessionState | Commit | None:
        if not self._begun:
            self._check_header(json_in(line))
            return None
        if self._tally is None:
            return self._head(line)
        if line.startswith(b'{"commit":'):
            return self._commit(self._tally, line)
        if json_in(line) != self._tally.trailer() or self._tally.events != self._tally.head.sequence:
            raise ValueError("the trailer counts something else")
        self._ended = True
        return None

    def _check_header(self, header: dict[str, Any]) -> None:
        if header["format"] != FORMAT or header["version"] != VERSION:
            raise ValueError(f"format {header['format']} {header['version']}, this release reads {FORMAT} {VERSION}")
        if header["session_id"] != self._session:
            raise ValueError(f"it holds session {header['session_id']}")
        self._begun = True

    def _head(self, line: bytes) -> SessionState:
        head = SessionState.model_validate(json_in(line)["head"])
        if head.session_id != self._session:
            raise ValueError(f"it holds the head of session {head.session_id}")
        self._tally = Tally(head)
        return head

    def _commit(self, tally: Tally, line: bytes) -> Commit:
        commit = Commit.model_validate_json(line[len(b'{"commit":') : -len(b"}\n")])
        if not tally.add(commit) or any(event.session_id != self._session for event in commit.events):
            raise ValueError(f"events are missing in commit {commit.version}")
        return commit

    def _damaged(self, what: str) -> ArchiveDamaged:
        return ArchiveDamaged(f"{self._place} is damaged: {what}")


def _line(**fields: Any) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode() + b"\n"


@asynccontextmanager
async def closing(items: AsyncIterator[_Item]) -> AsyncIterator[AsyncIterator[_Item]]:
    """Close a generator however its reader leaves it.

    One that is left in the middle is closed by the collector else, at some time: its files stay open until then.
    """
    try:
        yield items
    finally:
        if isinstance(items, AsyncGenerator):
            await items.aclose()
