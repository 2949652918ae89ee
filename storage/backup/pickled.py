"""Pickles that hold plain values alone: nothing else is written, and nothing else is read.

A pickle is a program: whoever reads one runs it. So one is read only if its signature is that of the key, then only if
every instruction in it makes a plain value (no class, no call, nothing that is remembered and used again), and then by
an unpickler that knows no class at all.
"""

import hashlib
import hmac
import io
import pickle
import pickletools
from typing import Any, Final

from agentbus.contracts.errors import BackupRefused

_PROTOCOL: Final = 4
_BEGINNING: Final = b"agentbus signed 1 "
_WHAT: Final = b"agentbus backup\n"
_SIGNATURE: Final = 64
SHORTEST_KEY: Final = 32
"""Characters of a key, at the least."""

_PLAIN: Final = frozenset(
    {
        "PROTO", "FRAME", "STOP", "MARK",
        "NONE", "NEWTRUE", "NEWFALSE",
        "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT",
        "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8",
        "EMPTY_LIST", "APPEND", "APPENDS", "EMPTY_DICT", "SETITEM", "SETITEMS",
    }
)  # fmt: skip
"""The instructions that make plain values. Without those that remember something, what is read is no larger than what
was written."""

_UNREADABLE: Final = (
    pickle.UnpicklingError, ValueError, TypeError, EOFError, IndexError, AttributeError, OverflowError
)  # fmt: skip


def pickled(values: list[Any]) -> bytes:
    """Return a pickle of plain values."""
    buffer = io.BytesIO()
    pickler = pickle.Pickler(buffer, protocol=_PROTOCOL)
    pickler.fast = True  # Nothing is remembered; the values are trees.
    pickler.dump(values)
    return buffer.getvalue()


def with_signature(data: bytes, key: bytes | None) -> bytes:
    """Return bytes with their signature before them. Raises BackupRefused without a key."""
    return _BEGINNING + _signature(data, key) + b"\n" + data


def without_signature(data: bytes, key: bytes | None, where: str) -> memoryview:
    """Return bytes whose signature is right. Raises BackupRefused for all others, and without a key."""
    begins = len(_BEGINNING) + _SIGNATURE + 1
    given = data[len(_BEGINNING) : begins - 1]
    if not data.startswith(_BEGINNING) or data[begins - 1 : begins] != b"\n":
        raise BackupRefused(f"{where} is not signed: it is not read")
    payload = memoryview(data)[begins:]
    if not hmac.compare_digest(_signature(payload, key), given):
        raise BackupRefused(f"{where} was signed with another key, or changed: it is not read")
    return payload


def values_in(data: bytes | memoryview, where: str) -> list[Any]:
    """Return the plain values in a pickle whose signature was seen to be right. Raises BackupRefused for any other."""
    _refuse_programs(data, where)
    try:
        values = _PlainUnpickler(io.BytesIO(data)).load()
    except (
        pickle.UnpicklingError,
        ValueError,
        TypeError,
        EOFError,
        IndexError,
        AttributeError,
        OverflowError,
    ) as error:
        raise BackupRefused(f"{where} is no pickle of plain values: {type(error).__name__}") from None
    if not isinstance(values, list):
        raise BackupRefused(f"{where} is a pickle of something else: {type(values).__name__}")
    return values


def _refuse_programs(data: bytes | memoryview, where: str) -> None:
    try:
        for instruction, _, _ in pickletools.genops(io.BytesIO(data)):
            if instruction.name not in _PLAIN:
                raise BackupRefused(f"{where} holds more than plain values ({instruction.name}): it is not read")
    except _UNREADABLE as error:
        raise BackupRefused(f"{where} is no whole pickle: {type(error).__name__}") from None


class _PlainUnpickler(pickle.Unpickler):
    """Knows no class: asked for one, it refuses."""

    def find_class(self, module: str, name: str, /) -> Any:
        raise pickle.UnpicklingError(f"{module}.{name}")

    def persistent_load(self, _pid: Any, /) -> Any:
        raise pickle.UnpicklingError("a persistent id")


def _signature(data: bytes | memoryview, key: bytes | None) -> bytes:
    if key is None:
        raise BackupRefused("a pickled backup is signed: give the key by AGENTBUS_BACKUP_KEY")
    taken = hmac.new(key, _WHAT, hashlib.sha256)
    taken.update(data)
    return taken.hexdigest().encode()
