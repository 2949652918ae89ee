"""Lines become bytes and come back, in each format; what was changed is found, and nothing grows without bound."""

import gzip
import json
import sys
from collections.abc import Sequence

import pytest

from agentbus.contracts.backup import BackupFormat, FileRef
from agentbus.contracts.errors import BackupDamaged, BackupRefused, ConfigurationError
from agentbus.storage.backup import encoding
from agentbus.storage.backup.pickled import with_signature

KEY = b"k" * 32
LINES = [b'{"a":1}', '{"b":"é😀"}'.encode(), b'{"c":[1.5,null,true,{"d":"\\u0000"}]}']
FORMATS = list(BackupFormat)


def ref_of(written: encoding.Written, form: BackupFormat, lines: Sequence[bytes]) -> FileRef:
    plain = sum(len(line) + 1 for line in lines)
    return FileRef(
        home="20260101t000000000z-00000000",
        digest=written.digest,
        format=form,
        size=len(written.data),
        plain=plain,
        lines=len(lines),
    )


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("lines", [LINES, []])
def test_lines_come_back(form: BackupFormat, lines: list[bytes]) -> None:
    written = encoding.encode(lines, form, KEY)
    ref = ref_of(written, form, lines)
    encoding.check(written.data, ref, "it")
    found = encoding.decode(written.data, ref, "it", KEY)
    assert [json.loads(line) for line in found] == [json.loads(line) for line in lines]
    assert encoding.encode(lines, form, KEY) == written, "the same lines give the same bytes"


def test_a_format_whose_package_is_not_there_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    written = encoding.encode(LINES, BackupFormat.JSON_ZST)
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(ConfigurationError, match="pip install zstandard"):
        encoding.encode(LINES, BackupFormat.JSON_ZST)
    with pytest.raises(ConfigurationError, match="pip install zstandard"):
        encoding.decode(written.data, ref_of(written, BackupFormat.JSON_ZST, LINES), "it")


@pytest.mark.parametrize("form", FORMATS)
def test_a_byte_that_was_changed_is_found(form: BackupFormat) -> None:
    written = encoding.encode(LINES, form, KEY)
    ref = ref_of(written, form, LINES)
    for place in range(len(written.data)):
        changed = bytearray(written.data)
        changed[place] ^= 0x20
        with pytest.raises(BackupDamaged, match="it is damaged"):
            encoding.check(bytes(changed), ref, "it")
    for other in (written.data[:-1], written.data + b"\n", b""):
        with pytest.raises(BackupDamaged, match="it is damaged"):
            encoding.check(other, ref, "it")


def test_what_unpacks_to_more_than_it_says_is_not_unpacked() -> None:
    bomb = gzip.compress(b"0" * 5_000_000, 9)
    ref = ref_of(encoding.Written(bomb, "0" * 64), BackupFormat.JSON_GZ, [b'{"a":1}'])
    with pytest.raises(BackupDamaged):
        encoding.decode(bomb, ref, "it")
    with pytest.raises(BackupDamaged):
        encoding.decode(with_signature(bomb, KEY), ref.model_copy(update={"format": BackupFormat.PICKLE_GZ}), "it", KEY)
    with pytest.raises(BackupDamaged, match="none of ours"):
        encoding.decode(bomb, ref.model_copy(update={"plain": 1 << 40}), "it")


@pytest.mark.parametrize("form", FORMATS)
def test_what_is_no_such_file_is_refused(form: BackupFormat) -> None:
    written = encoding.encode(LINES, form, KEY)
    ref = ref_of(written, form, LINES)
    for other in (b"", b"\x00", b"{", written.data[:-1], gzip.compress(b"x")):
        with pytest.raises((BackupDamaged, BackupRefused)):
            encoding.decode(other, ref, "it", KEY)
    with pytest.raises(BackupDamaged, match="3 lines in place of 4"):
        encoding.decode(written.data, ref_of(written, form, LINES).model_copy(update={"lines": 4}), "it", KEY)
