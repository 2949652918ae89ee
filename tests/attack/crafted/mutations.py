"""Mutations: what is right, made wrong in one place or a few, as JSON values and as bytes."""

import json
from collections.abc import Callable, Iterator
from random import Random
from typing import Any, Final

Place = tuple[Any, Any]
"""An object or array, and the key or index of a value in it."""

_WRONG: Final[tuple[Any, ...]] = (
    None, True, 0, -1, 2**63, -(2**63) - 1, 2**200, 1e308, 0.1, "", "x" * 300, "\x00", "\x1f", "\x7f", "\ud800",
    "\udfff\ud800", "ä" * 255, "\u202e", "%s%n{}${jndi:x}", "../../etc/passwd", "' OR 1=1 --", "$where", "a.b.c",
    "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00", "2026-13-45T99:99:99Z", [], {}, [None], [[[]]], {"": ""},
    {"$set": 1},
    {"\x00": 1},
    {"__proto__": {}}, {"a.b": {"$": 1}}, [1] * 500, {str(n): n for n in range(300)},
)  # fmt: skip


def mutated(value: Any, random: Random, *, most: int = 3) -> Any:
    """Return a copy of a JSON value that is wrong in up to `most` places."""
    value = json.loads(json.dumps(value))
    for _ in range(random.randint(1, most)):
        places = list(_places(value))
        if not places:
            return random.choice(_WRONG)
        _CHANGES[random.randrange(len(_CHANGES))](random, *random.choice(places))
    return value


def as_json(value: Any, random: Random) -> bytes:
    """Return a JSON value as bytes, with surrogates escaped as some libraries do, or raw as others do."""
    if random.random() < 0.9:
        return json.dumps(value, separators=(",", ":")).encode()
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


def damaged(body: bytes, random: Random) -> bytes:
    """Return bytes that are damaged: cut, flipped, doubled, filled up."""
    data = bytearray(body)
    for _ in range(random.randint(1, 4)):
        at = random.randrange(len(data) + 1)
        match random.randrange(6):
            case 0:
                del data[at:]
            case 1:
                data[at : at + 1] = bytes([random.randrange(256)])
            case 2:
                data[at:at] = random.choice(_BYTES)
            case 3:
                data[at:at] = data[at : at + random.randint(1, 40)]
            case 4:
                del data[at : at + random.randint(1, 40)]
            case _:
                data[:0] = random.choice(_BYTES)
    return bytes(data)


_BYTES: Final = (
    b"\xff\xfe", b"\xef\xbb\xbf", b"\x00", b"[" * 2000, b'{"a":' * 500, b"\xed\xa0\x80", b"1e999999", b"NaN",
    b"-Infinity", b"9" * 5000, b'"\\ud800"', b"\xc0\x80", b"\r\n", b'"', b"}", b"]", b",", b"PK\x03\x04",
    b"\x1f\x8b", b"/*",
)  # fmt: skip


def _places(value: Any) -> Iterator[Place]:
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _places(value[key])


def _put(random: Random, where: Any, key: Any) -> None:
    where[key] = json.loads(json.dumps(random.choice(_WRONG)))


def _remove(_: Random, where: Any, key: Any) -> None:
    del where[key]


def _rename(random: Random, where: Any, key: Any) -> None:
    if isinstance(where, dict):
        where[random.choice(("kind", "data", "", "x" * 300, "\ud800", "session_id"))] = where.pop(key)
    else:
        where.append(where[key])


def _nest(random: Random, where: Any, key: Any) -> None:
    for _ in range(random.choice((1, 33, 100))):
        where[key] = [where[key]] if random.random() < 0.5 else {"a": where[key]}


def _retype(_: Random, where: Any, key: Any) -> None:
    value = where[key]
    where[key] = [value] if not isinstance(value, str) else {value[:20]: value}


_CHANGES: Final[tuple[Callable[[Random, Any, Any], None], ...]] = (_put, _put, _put, _remove, _rename, _nest, _retype)
