"""Encrypted files of the archive: a line that names the data key, then pieces, each with its length before it.

What is encrypted is the gzip file, piece by piece, each bound to the session and to its number.
"""

import io
import json
from typing import Any, Final

from agentbus.contracts.ids import SessionId
from agentbus.storage.encryption import DataKey

_BEGINNING: Final = b"agentbus encrypted 1 "
_LONGEST_LINE: Final = 200
_PIECE: Final = 1 << 20
_LENGTH: Final = 4


class EncryptingFile(io.RawIOBase):
    """A file to write to, over another one. `close` leaves that one open, all written."""

    def __init__(self, raw: Any, key: DataKey, session: SessionId) -> None:
        self._raw = raw
        self._key = key
        self._session = session
        self._waiting = bytearray()
        self._number = 0
        raw.write(_BEGINNING + key.name.encode() + b"\n")

    def writable(self) -> bool:
        """Say that it can be written to."""
        return True

    def write(self, data: Any, /) -> int:
        """Add to the file."""
        self._waiting += data
        while len(self._waiting) >= _PIECE:
            self._write_piece()
        return len(data)

    def close(self) -> None:
        """Write the rest. Idempotent."""
        if not self.closed and self._waiting:
            self._write_piece()
        super().close()

    def _write_piece(self) -> None:
        piece = self._key.encrypt(bytes(self._waiting[:_PIECE]), _place(self._session, self._number))
        self._raw.write(len(piece).to_bytes(_LENGTH, "big") + piece)
        del self._waiting[:_PIECE]
        self._number += 1


class DecryptingFile(io.RawIOBase):
    """A file to read from, over one whose first line was read. Raises ValueError for what was changed."""

    def __init__(self, raw: Any, key: DataKey, session: SessionId) -> None:
        self._raw = raw
        self._key = key
        self._session = session
        self._number = 0
        self._left = b""

    def readable(self) -> bool:
        """Say that it can be read from."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Fill a buffer; return how many bytes were put there, 0 at the end."""
        if not self._left:
            self._left = self._piece()
        count = min(len(buffer), len(self._left))
        buffer[:count], self._left = self._left[:count], self._left[count:]
        return count

    def close(self) -> None:
        """Close the other file too. Idempotent."""
        self._raw.close()
        super().close()

    def _piece(self) -> bytes:
        length = int.from_bytes(self._raw.read(_LENGTH), "big")
        if not length:
            return b""
        if length > 2 * _PIECE:
            raise ValueError("it was changed")
        piece = self._key.decrypt(self._raw.read(length), _place(self._session, self._number))
        self._number += 1
        return piece


def key_of_file(raw: Any) -> str | None:
    """Return the name of the key that a file is encrypted with, having read its first line; None, and the file is at
    its beginning, for one that is not encrypted."""
    line: bytes = raw.read(len(_BEGINNING))
    if line != _BEGINNING:
        raw.seek(0)
        return None
    while not line.endswith(b"\n") and len(line) < _LONGEST_LINE and (following := raw.read(1)):
        line += following
    return line[len(_BEGINNING) :].strip().decode("ascii", "replace")


def _place(session: SessionId, number: int) -> str:
    return json.dumps(["archived", session, number])
