"""A digest of what a store keeps: the same on every kind of store, in whatever order it is read.

Each part (a conversation's log, a head, a record) has a SHA-256 of its own, over its canonical bytes: JSON with keys in
order. The digest is their sum, modulo 2^256. So it is added up as the parts come by, in any order, and a part that is
missing, twice or another changes it. It tells faults of copying: who may write to a store could make up parts that come
to the same sum.
"""

import hashlib
import json
from typing import Any, Final

from pydantic import BaseModel

from agentbus.contracts.events import Commit
from agentbus.contracts.parked import ParkedInput

_MODULUS: Final = 1 << 256


class Digest:
    """Adds up the digests of parts."""

    def __init__(self) -> None:
        self._sum = 0

    def add(self, kind: str, *part: Any) -> None:
        """Add a part: what kind of thing it is, and all that says what it is and holds, as JSON."""
        self._add(hashlib.sha256(_bytes_of([kind, *part])))

    def add_log(self, log: "LogDigest") -> None:
        """Add the log of a conversation."""
        self._add(log.taken)

    def _add(self, taken: Any) -> None:
        self._sum = (self._sum + int.from_bytes(taken.digest(), "big")) % _MODULUS

    def __str__(self) -> str:
        return f"{self._sum:064x}"


class LogDigest:
    """Takes the digest of a conversation's log, a commit after the other."""

    def __init__(self) -> None:
        self.taken = hashlib.sha256(b"log\n")

    def add(self, commit: Commit) -> None:
        """Take the next commit: as it was, whether a restore brought it back or not."""
        # A line each: JSON has no line breaks.
        self.taken.update(_bytes_of(commit.model_dump(mode="json", exclude={"restored"})) + b"\n")


def canonical(contract: BaseModel) -> bytes:
    """Return the bytes that stand for a contract: equal for equal ones, different for different ones."""
    return _bytes_of(contract.model_dump(mode="json"))


def of_parked(parked: ParkedInput) -> list[Any]:
    """Return what the digest is taken of for a parked input: of its body, which may be large, a digest again."""
    return [parked.model_dump(mode="json", exclude={"body"}), hashlib.sha256(parked.body).hexdigest()]


def _bytes_of(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
