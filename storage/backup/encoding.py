"""How lines become the bytes of a file, and come back: by format, signed and encrypted. All of it blocks."""

import gzip
import hashlib
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from agentbus.contracts.backup import BackupFormat, FileRef
from agentbus.contracts.documents import json_in
from agentbus.contracts.errors import BackupDamaged, BackupRefused, ConfigurationError
from agentbus.storage.backup.pickled import pickled, values_in, with_signature, without_signature

if TYPE_CHECKING:
    from agentbus.storage.encryption import DataKey

MOST_PLAIN: Final = 1 << 30
"""Bytes of lines that a file may say it has. Ours have a few million, or one large input that was parked."""

_LEVEL: Final = 3
"""Of gzip: 6 takes twice the time and saves a tenth."""
_ZST_LEVEL: Final = 3
_WORDY: Final = 4
"""A pickle has at most so many times the bytes of the same as JSON."""
_ENDING: Final = b"\n"

_PLACE: Final = '["backup"]'
_BEGINNING: Final = b"agentbus encrypted 1 "
_LONGEST_NAME: Final = 128

SUFFIXES: Final[Mapping[BackupFormat, str]] = {
    BackupFormat.JSON: "json",
    BackupFormat.JSON_GZ: "json.gz",
    BackupFormat.JSON_ZST: "json.zst",
    BackupFormat.PICKLE: "pickle",
    BackupFormat.PICKLE_GZ: "pickle.gz",
}
"""What the names of files end with; `.enc` follows if one is encrypted."""


@dataclass(frozen=True, slots=True)
class Written:
    """The bytes of a file, and their digest."""

    data: bytes
    digest: str


def encode(
    lines: Sequence[bytes], form: BackupFormat, signing: bytes | None = None, key: "DataKey | None" = None
) -> Written:
    """Return the bytes of a file that holds `lines`: JSON each, without its end.

    The same lines give the same bytes, unless they are encrypted. Raises BackupRefused for a pickle without the key
    to sign it, ConfigurationError for a format whose package is not installed.
    """
    data = _ENCODE[form](lines, signing)
    if key is not None:
        data = _BEGINNING + key.name.encode() + b"\n" + key.encrypt(data, _PLACE)
    return Written(data, hashlib.sha256(data).hexdigest())


def check(data: bytes, ref: FileRef, where: str) -> None:
    """Raise BackupDamaged unless the bytes are those that a file is named by."""
    if len(data) != ref.size:
        raise BackupDamaged(f"{where} is damaged: it has {len(data)} bytes in place of {ref.size}", file=where)
    if hashlib.sha256(data).hexdigest() != ref.digest:
        raise BackupDamaged(f"{where} is damaged: its bytes are not those that were written", file=where)


def decode(data: bytes, ref: FileRef, where: str, signing: bytes | None = None) -> list[bytes]:
    """Return the lines of a file that is no longer encrypted, and was checked before that.

    Raises BackupDamaged for what no such file is, BackupRefused for a pickle that is not read.
    """
    if ref.plain > MOST_PLAIN:
        raise BackupDamaged(f"{where} says that it has {ref.plain} bytes: none of ours has", file=where)
    try:
        lines = _DECODE[ref.format](data, ref, where, signing)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise BackupDamaged(f"{where} can't be read: {type(error).__name__}", file=where) from None
    if len(lines) != ref.lines:
        raise BackupDamaged(f"{where} has {len(lines)} lines in place of {ref.lines}", file=where)
    return lines


def key_name(data: bytes, where: str) -> str:
    """Return the name of the key that a file is encrypted with. Raises BackupDamaged for one that is not."""
    name, ending, _ = data[len(_BEGINNING) : len(_BEGINNING) + _LONGEST_NAME].partition(b"\n")
    if not data.startswith(_BEGINNING) or not ending:
        raise BackupDamaged(f"{where} is not encrypted, and should be", file=where)
    return name.decode("ascii", "replace")


def decrypt(data: bytes, key: "DataKey", where: str) -> bytes:
    """Return what a file holds. Raises BackupDamaged for what was not encrypted with this key."""
    try:
        return key.decrypt(data[len(_BEGINNING) + len(key.name.encode()) + 1 :], _PLACE)
    except ValueError as error:
        raise BackupDamaged(f"{where} can't be decrypted: {error}", file=where) from None


# JSON


def _join(lines: Sequence[bytes]) -> bytes:
    return b"".join(part for line in lines for part in (line, _ENDING))


def _split(data: bytes) -> list[bytes]:
    if data and not data.endswith(_ENDING):
        raise ValueError("the last line has no end")
    return data.split(_ENDING)[:-1]


def _json(lines: Sequence[bytes], _signing: bytes | None) -> bytes:
    return _join(lines)


def _from_json(data: bytes, ref: FileRef, _where: str, _signing: bytes | None) -> list[bytes]:
    if len(data) != ref.plain:
        raise ValueError("it has another size")
    return _split(data)


def _json_gz(lines: Sequence[bytes], _signing: bytes | None) -> bytes:
    return gzip.compress(_join(lines), _LEVEL, mtime=0)


def _from_json_gz(data: bytes, ref: FileRef, where: str, signing: bytes | None) -> list[bytes]:
    return _from_json(_gunzipped(data, ref.plain), ref, where, signing)


def _gunzipped(data: bytes | memoryview, most: int) -> bytes:
    """Return what is in a gzip file of one member, if that is no more than `most` bytes."""
    unzip = zlib.decompressobj(wbits=31)
    plain = unzip.decompress(data, most + 1)
    if len(plain) > most or not unzip.eof or unzip.unused_data:
        raise ValueError("it has another size")
    return plain


def _json_zst(lines: Sequence[bytes], _signing: bytes | None) -> bytes:
    return bytes(zstandard().ZstdCompressor(level=_ZST_LEVEL).compress(_join(lines)))


def _from_json_zst(data: bytes, ref: FileRef, where: str, signing: bytes | None) -> list[bytes]:
    package = zstandard()
    try:
        with package.ZstdDecompressor().stream_reader(data) as stream:
            plain = bytes(stream.read(ref.plain + 1))
    except package.ZstdError as error:
        raise ValueError(str(error)) from None
    return _from_json(plain, ref, where, signing)


def zstandard() -> Any:
    """Return the package. Raises ConfigurationError if it is not installed."""
    try:
        return import_module("zstandard")  # Whoever has it may use it; nobody has to.
    except ModuleNotFoundError as error:
        raise ConfigurationError("the format json_zst needs a package: pip install zstandard") from error


# Pickles


def _pickle(lines: Sequence[bytes], signing: bytes | None) -> bytes:
    return with_signature(pickled([json_in(line) for line in lines]), signing)


def _from_pickle(data: bytes, _ref: FileRef, where: str, signing: bytes | None) -> list[bytes]:
    return _dumped(values_in(without_signature(data, signing, where), where), where)


def _pickle_gz(lines: Sequence[bytes], signing: bytes | None) -> bytes:
    return with_signature(gzip.compress(pickled([json_in(line) for line in lines]), _LEVEL, mtime=0), signing)


def _from_pickle_gz(data: bytes, ref: FileRef, where: str, signing: bytes | None) -> list[bytes]:
    plain = _gunzipped(without_signature(data, signing, where), _WORDY * ref.plain + 4096)
    return _dumped(values_in(plain, where), where)


def _dumped(values: list[Any], where: str) -> list[bytes]:
    try:
        return [json.dumps(value, separators=(",", ":")).encode() for value in values]
    except (TypeError, ValueError, RecursionError):
        raise BackupRefused(f"{where} holds more than plain values: it is not read") from None


_ENCODE: Final[Mapping[BackupFormat, Callable[[Sequence[bytes], bytes | None], bytes]]] = {
    BackupFormat.JSON: _json,
    BackupFormat.JSON_GZ: _json_gz,
    BackupFormat.JSON_ZST: _json_zst,
    BackupFormat.PICKLE: _pickle,
    BackupFormat.PICKLE_GZ: _pickle_gz,
}
_DECODE: Final[Mapping[BackupFormat, Callable[[bytes, FileRef, str, bytes | None], list[bytes]]]] = {
    BackupFormat.JSON: _from_json,
    BackupFormat.JSON_GZ: _from_json_gz,
    BackupFormat.JSON_ZST: _from_json_zst,
    BackupFormat.PICKLE: _from_pickle,
    BackupFormat.PICKLE_GZ: _from_pickle_gz,
}
