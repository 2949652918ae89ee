"""What was published in a replay, and what became of it: in a temporary file, so that memory does not grow with it."""

import sqlite3
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Final, Self

from agentbus.client import Receipt
from agentbus.contracts.errors import AgentBusError
from agentbus.contracts.ids import ConversationId, InputId

_TABLES: Final = """
    PRAGMA journal_mode = OFF;
    PRAGMA synchronous = OFF;
    CREATE TABLE published (n INTEGER PRIMARY KEY, conversation TEXT, input TEXT, UNIQUE (input, conversation));
    CREATE INDEX by_conversation ON published (conversation);
    CREATE TABLE committed (
        n INTEGER PRIMARY KEY, conversation TEXT, input TEXT, times INTEGER DEFAULT 1, UNIQUE (input, conversation)
    );
    CREATE TABLE parked (input TEXT PRIMARY KEY, code TEXT, reason TEXT);
"""
_COUNTS: Final = """
    WITH held AS (
        SELECT published.n AS place, published.conversation, published.input, committed.n AS turn, committed.times
        FROM published LEFT JOIN committed USING (input, conversation)
    ), turns AS (
        SELECT place, max(place) OVER (
            PARTITION BY conversation ORDER BY turn ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
        ) AS latest FROM held WHERE turn IS NOT NULL
    )
    SELECT
        count(turn),
        coalesce(sum(turn IS NULL AND input IN (SELECT input FROM parked)), 0),
        coalesce(sum(turn IS NULL AND input NOT IN (SELECT input FROM parked)), 0),
        coalesce(sum(times - 1), 0),
        (SELECT count(*) FROM turns WHERE place < latest)
    FROM held
"""
_CAUSES: Final = """
    SELECT code, min(reason), count(*) FROM parked JOIN published USING (input)
    LEFT JOIN committed USING (input, conversation) WHERE committed.n IS NULL GROUP BY code ORDER BY count(*) DESC, code
"""


class NoRoom(AgentBusError):
    """There is no room for temporary files: what was published can't be checked."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Inputs by what became of them."""

    committed: int
    parked: int
    lost: int
    duplicated: int
    reordered: int


@dataclass(frozen=True, slots=True)
class Cause:
    """Why inputs were parked: the error's name, one of its reasons in words, and how many there are."""

    code: str
    reason: str
    inputs: int


class Journal:
    """The inputs that were published, in their order; one that was published twice counts by its first time.

    To be closed. Every call raises NoRoom when the disk is full.
    """

    def __init__(self, receipts: Iterable[Receipt] = ()) -> None:
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._database.executescript(_TABLES)
        self.add(receipts)

    def add(self, receipts: Iterable[Receipt]) -> None:
        """Note what was published next."""
        with self._writing():
            self._database.executemany(
                "INSERT OR IGNORE INTO published (conversation, input) VALUES (?, ?)",
                ((receipt.conversation_id, receipt.input_id) for receipt in receipts),
            )

    def commit(self, conversation: ConversationId, inputs: Iterable[InputId]) -> None:
        """Note what was committed next in a conversation."""
        with self._writing():
            self._database.executemany(
                "INSERT INTO committed (conversation, input) VALUES (?, ?) "
                "ON CONFLICT (input, conversation) DO UPDATE SET times = times + 1",
                ((conversation, input_id) for input_id in inputs),
            )

    def park(self, input_id: str, code: str, reason: str) -> None:
        """Note what is parked."""
        with self._writing():
            self._database.execute("INSERT OR IGNORE INTO parked VALUES (?, ?, ?)", (input_id, code, reason))

    def count(self) -> int:
        """Return how many different inputs there are."""
        (counted,) = self._database.execute("SELECT count(*) FROM published").fetchone()
        return int(counted)

    def conversations(self) -> Iterator[ConversationId]:
        """Yield the conversations that they belong to, in their order by id."""
        rows = self._database.execute("SELECT DISTINCT conversation FROM published ORDER BY conversation")
        return map(ConversationId, chain.from_iterable(rows))

    def counts(self) -> Counts:
        """Return what became of them all.

        `lost`: neither committed nor parked. `duplicated`: once for each commit beyond the first. `reordered`:
        committed after an input of the same conversation that was published later.
        """
        with _told():
            return Counts(*self._database.execute(_COUNTS).fetchone())

    def causes(self) -> tuple[Cause, ...]:
        """Return why those were parked that were not committed, the most frequent cause first."""
        with _told():
            return tuple(Cause(*row) for row in self._database.execute(_CAUSES))

    def close(self) -> None:
        """Delete it all."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def _writing(self) -> Generator[None, None, None]:
        with _told(), self._database:
            self._database.execute("BEGIN")
            yield


@contextmanager
def _told() -> Generator[None, None, None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        raise NoRoom(
            f"what was published can't be kept in temporary files ({error}): make room, or set TMPDIR"
        ) from None
