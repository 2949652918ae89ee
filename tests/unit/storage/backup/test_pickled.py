"""Pickles are programs: ours hold plain values, and no other one is run, by whomever it was signed."""

import collections
import copyreg
import io
import os
import pickle
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agentbus.contracts.errors import BackupRefused
from agentbus.storage.backup.pickled import pickled, values_in, with_signature, without_signature

KEY = b"k" * 32
PLAIN: list[Any] = [
    {"a": [1, -1, 2**40, 2**63 - 1, -(2**63), 0.5, True, False, None, "", "é😀", "x" * 70_000], "b": {}},
    [],
    "text",
]


class Reduced:
    """Calls something when it is unpickled."""

    def __init__(self, call: Callable[..., Any], *given: Any) -> None:
        self._call = call, given

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self._call


class Built:
    """Has a state, which is set when it is unpickled."""

    def __init__(self) -> None:
        self.here = "state"


class Owner:
    """For a persistent id."""


class _PersistentPickler(pickle.Pickler):
    def persistent_id(self, obj: Any, /) -> Any:
        return "id" if isinstance(obj, Owner) else None


def persistent() -> bytes:
    buffer = io.BytesIO()
    _PersistentPickler(buffer).dump([Owner()])
    return buffer.getvalue()


def nested() -> bytes:
    return pickle.dumps([{"deep": [[{"inside": Reduced(os.system, "true")}]]}])


SHARED = ["x"] * 10
for _ in range(6):
    SHARED = [SHARED] * 10  # type: ignore[list-item]

HOSTILE: dict[str, bytes] = {
    "os.system": pickle.dumps([Reduced(os.system, "touch run")]),
    "os.system, in text": b"cos\nsystem\n(S'touch run'\ntR.",
    "builtins.eval": pickle.dumps([Reduced(eval, "1")]),
    "getattr": pickle.dumps([Reduced(getattr, "", "join")]),
    "a chain of getattr": b"cbuiltins\ngetattr\n(cbuiltins\n__import__\n(S'os'\ntRS'system'\ntR(S'touch run'\ntR.",
    "nested": nested(),
    "INST": b"(S'touch run'\nios\nsystem\n.",
    "OBJ": b"(cos\nsystem\nS'touch run'\no.",
    "NEWOBJ": b"\x80\x02c__builtin__\nlist\n)\x81.",
    "BUILD": pickle.dumps([Built()]),
    "a class": pickle.dumps([collections.OrderedDict(a=1)]),
    "STACK_GLOBAL": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x09touch run\x85R.",
    "a persistent id": persistent(),
    "a persistent id in text": b"Pid\n.",
    "EXT1": b"\x80\x02\x82\x01.",
    "EXT2": b"\x80\x02\x83\x01\x01.",
    "EXT4": b"\x80\x02\x84\x01\x01\x01\x01.",
    "what refers to itself": b"\x80\x04]q\x00h\x00a.",
    "what is shared": pickle.dumps(SHARED),
    "a place in the memo far away": b"\x80\x04]r\xff\xff\xff\x7f.",
    "a text that is longer than all": b"\x80\x04\x8d" + struct.pack("<Q", 2**40) + b"x.",
    "a number of many digits": b"\x80\x04\x8b" + struct.pack("<i", 2**30) + b"\x01.",
    "a number as text": b"I" + b"9" * 10_000 + b"\n.",
    "a buffer": b"\x80\x05\x97.",
    "a frame that is longer than all": b"\x80\x04\x95" + struct.pack("<Q", 2**40) + b"].",
    "bytes": pickle.dumps([b"bytes"]),
    "a tuple": pickle.dumps([(1, 2)]),
    "a set": pickle.dumps([{1}]),
    "nothing": b"",
    "no end": b"\x80\x04]",
    "an empty stack": b"\x80\x04.",
    "a mark alone": b"\x80\x04(.",
    "items of nothing": b"\x80\x04]K\x01K\x02s.",
    "a key that is none": b"\x80\x04]}]K\x01sa.",
    "another value than a list": pickle.dumps("text", protocol=0),
    "a protocol of later": b"\x80\x7f].",
}


@pytest.fixture
def known_extension() -> Iterator[None]:
    """Let an extension be registered, and looked up before: then a bare unpickler asks nobody any more."""
    copyreg.add_extension("os", "system", 1)
    pickle.loads(b"\x80\x02\x82\x01.")  # noqa: S301 - the test's own
    yield
    copyreg.remove_extension("os", "system", 1)


def test_plain_values_come_back() -> None:
    assert values_in(without_signature(with_signature(pickled(PLAIN), KEY), KEY, "it"), "it") == PLAIN


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.usefixtures("known_extension")
def test_a_hostile_one_is_refused_before_anything_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BackupRefused):
        values_in(HOSTILE[name], "it")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", HOSTILE)
def test_one_that_was_not_signed_with_the_key_is_not_looked_at(name: str) -> None:
    for data in (HOSTILE[name], with_signature(HOSTILE[name], b"o" * 32)):
        with pytest.raises(BackupRefused, match="signed"):
            without_signature(data, KEY, "it")


def test_each_byte_is_signed() -> None:
    data = with_signature(pickled([{"a": 1}]), KEY)
    for place in range(len(data)):
        changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        with pytest.raises(BackupRefused):
            without_signature(changed, KEY, "it")


def test_without_a_key_none_is_written_and_none_read() -> None:
    with pytest.raises(BackupRefused, match="AGENTBUS_BACKUP_KEY"):
        with_signature(b"", None)
    with pytest.raises(BackupRefused, match="AGENTBUS_BACKUP_KEY"):
        without_signature(with_signature(b"", KEY), None, "it")
