"""What of a head is encoded anew, and what is remembered of it."""

from typing import Any

import bson
import pytest
from pydantic import JsonValue

from agentbus.contracts.base import replaced
from agentbus.contracts.ids import ConversationId
from agentbus.contracts.session import SessionState
from agentbus.storage.mongo import partial
from agentbus.storage.mongo.codec import head_document, head_fields
from agentbus.storage.mongo.partial import HeadEncoder


def _head(number: int = 1, data: dict[str, JsonValue] | None = None) -> SessionState:
    letter = "abcdefghijklmnop"[number]
    return SessionState(conversation_id=ConversationId(letter * 26), generation=1, version=1, data=data or {})


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note the versions of the heads whose fields were encoded."""
    versions: list[int] = []

    def note(head: SessionState, **options: Any) -> dict[str, Any]:
        versions.append(head.version)
        return head_fields(head, **options)

    monkeypatch.setattr(partial, "head_fields", note)
    return versions


def test_what_a_message_does_not_change_is_encoded_once(encoded: list[int]) -> None:
    encoder, head = HeadEncoder(), _head(data={"a.b": {"$c": 1}})
    for version in (1, 2, 3):
        head = replaced(head, {"version": version, "recent_inputs": ("i",) * version})
        assert bson.decode(encoder.document(head).raw) == bson.decode(bson.encode(head_document(head)))
    assert encoded == [1]


def test_what_is_equal_to_python_and_not_to_json_is_encoded_anew(encoded: list[int]) -> None:
    encoder = HeadEncoder()
    encoder.document(_head(data={"a": 1}))
    other = _head(data={"a": True})
    assert bson.decode(encoder.document(other).raw)["data"]["a"] is True
    assert len(encoded) == 2


def test_the_longest_unused_is_forgotten_for_the_bytes_it_takes(encoded: list[int]) -> None:
    first, second = _head(1, {"a": "x" * 600}), _head(2, {"a": "x" * 600})
    encoder = HeadEncoder(most_bytes=2_500)
    for head in (first, second, first):
        encoder.document(head)
    assert len(encoded) == 2
    encoder.document(_head(3, {"a": "x" * 600}))
    assert encoder.bytes <= 2_500
    encoder.document(first)
    assert len(encoded) == 3, "the first one was used after the second"
    encoder.document(second)
    assert len(encoded) == 4


def test_a_head_larger_than_all_that_is_kept_is_encoded_each_time(encoded: list[int]) -> None:
    encoder, head = HeadEncoder(most_bytes=100), _head()
    for _ in range(2):
        encoder.document(head)
    assert len(encoded) == 2
    assert encoder.bytes == 0
