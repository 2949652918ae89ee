"""Bodies made to cost time: what is wrong a million times over is told at the price of once."""

import pkgutil
import types
from collections.abc import Iterator
from importlib import import_module
from time import process_time
from typing import Annotated, Any, get_args, get_origin

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

import agentbus.contracts
from agentbus.contracts.base import MAX_INPUT_BYTES
from agentbus.contracts.envelope import InputEnvelope
from agentbus.contracts.errors import InvalidInput, TooLarge

MOST_SECONDS = 6.0
"""Of processor time, on a slow machine. Before, the longest of these took half a minute."""

ADDRESS = '"address":{"platform":"web","chat":"c","user":"u"}'


def envelope(data: str) -> bytes:
    return f'{{"specversion":"1.0","type":"agentbus.input.v1","id":"1","data":{data}}}'.encode()


def filled(beginning: str, element: str, end: str) -> bytes:
    """Return an input of nearly the largest size, with as many of `element` as fit."""
    room = MAX_INPUT_BYTES - len(envelope(beginning + end))
    return envelope(beginning + ",".join([element] * (room // (len(element) + 1))) + end)


def keyed(beginning: str, end: str) -> bytes:
    """Return an input of nearly the largest size, with as many different keys as fit."""
    keys = (MAX_INPUT_BYTES - 200) // len('"123456":1,')
    return envelope(beginning + ",".join(f'"{number:06d}":1' for number in range(keys)) + end)


SENT = '"message_id":"1","sent_at":"2026-01-01T00:00:00Z"'
MESSAGE = f'{{"kind":"message",{ADDRESS},{SENT},"content":{{"kind":"text","text":""'

COSTLY = {
    "numbers for keys": lambda: filled(f'{{"kind":"set_data",{ADDRESS},"remove":[', "1", "]}"),
    "nulls for attachments": lambda: filled(MESSAGE + ',"attachments":[', "{}", "]}}"),
    "unknown fields": lambda: keyed(f'{{"kind":"set_data",{ADDRESS},', "}"),
    "keys of data": lambda: keyed(f'{{"kind":"set_data",{ADDRESS},"values":{{', "}}"),
    "messages of a new session": lambda: filled(f'{{"kind":"update_session",{ADDRESS},"messages":[', "0", "]}"),
    "stamps": lambda: keyed(f'{{"kind":"restore_session",{ADDRESS},"stamps":{{', "}}"),
    "nested arrays": lambda: envelope("[" * (MAX_INPUT_BYTES - 100)),
    "nested objects": lambda: envelope('{"a":' * ((MAX_INPUT_BYTES - 100) // 5)),
    "a number without end": lambda: envelope("1" * (MAX_INPUT_BYTES - 100)),
}


@pytest.mark.parametrize("body", COSTLY.values(), ids=COSTLY.keys())
def test_a_costly_body_is_refused_soon(body: Any) -> None:
    made = body()
    assert MAX_INPUT_BYTES - 500 < len(made) <= MAX_INPUT_BYTES
    begun = process_time()
    with pytest.raises(InvalidInput) as refused:
        InputEnvelope.from_bytes(made)
    assert process_time() - begun < MOST_SECONDS
    assert len(str(refused.value)) < 5_000


def test_what_is_larger_than_an_input_may_be_is_not_read() -> None:
    with pytest.raises(TooLarge, match=f"{MAX_INPUT_BYTES + 1} bytes, the limit is {MAX_INPUT_BYTES}"):
        InputEnvelope.from_bytes(b"x" * (MAX_INPUT_BYTES + 1))


def _fields() -> Iterator[tuple[str, FieldInfo]]:
    for module in pkgutil.walk_packages(agentbus.contracts.__path__, "agentbus.contracts."):
        for name, kind in vars(import_module(module.name)).items():
            if isinstance(kind, type) and issubclass(kind, BaseModel) and kind.__module__ == module.name:
                yield from ((f"{name}.{field}", info) for field, info in kind.model_fields.items())


def _slow(annotation: Any, metadata: tuple[Any, ...] = ()) -> bool:
    """Whether a type holds a sequence that is checked to its end, however many of its elements are wrong."""
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        return _slow(inner, (*metadata, *more))
    arguments = get_args(annotation)
    if get_origin(annotation) in {tuple, list, set, frozenset} and (len(arguments) < 2 or arguments[1] is ...):
        return not any("fail_fast" in repr(one) or _fails_fast(one) for one in metadata)
    return any(_slow(one) for one in arguments if not isinstance(one, types.EllipsisType))


def _fails_fast(one: object) -> bool:
    return isinstance(one, FieldInfo) and any(_fails_fast(inner) or "FailFast" in repr(inner) for inner in one.metadata)


def test_every_sequence_of_a_contract_is_checked_up_to_its_first_fault() -> None:
    slow = [name for name, info in _fields() if _slow(info.annotation, tuple(info.metadata))]
    assert slow == [], "say Many[...] instead of tuple[..., ...]: pydantic keeps an error for each wrong element"
