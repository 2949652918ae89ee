"""Ids are derived in a way that anybody can repeat, and that never changes: conversations would be lost."""

import base64
import hashlib
import re
import zlib

import pytest

from agentbus.contracts.address import Address, Platform, Scope, conversation_id_for, new_conversation_id
from agentbus.contracts.ids import (
    ConversationId,
    conversation_of,
    digest_of,
    generation_of,
    partition_for,
    session_id_for,
)
from agentbus.contracts.parked import parked_id_for

_ADDRESS = Address(platform=Platform.TELEGRAM, account="bot", chat="-100", thread="5", user="7")

_GOLDEN = {
    Scope.MAIN: ("main",),
    Scope.PER_CHAT: ("per_chat", "telegram", "-100", "5"),
    Scope.PER_USER: ("per_user", "telegram", "7"),
    Scope.PER_CHAT_USER: ("per_chat_user", "telegram", "-100", "5", "7"),
    Scope.PER_ACCOUNT_CHAT_USER: ("per_account_chat_user", "telegram", "bot", "-100", "5", "7"),
}
"""The parts that make a conversation's key, by scope policy."""


def _again(*parts: str | None) -> str:
    """Derive an id as the documentation tells others to."""
    encoded = b"".join(
        b"\xff\xff\xff\xff" if part is None else len(part.encode()).to_bytes(4, "big") + part.encode() for part in parts
    )
    digest = hashlib.blake2b(encoded, digest_size=16).digest()
    return base64.b32encode(digest).decode().lower().strip("=")


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ((), "zltgsqoz566uatsnrb2y5jtwoa"),
        (("",), "chjn6tuxtkqqlt2vf2kuj26swu"),
        ((None,), "ulj7avup5mei4svgpwsu3nql7i"),
        (("a", "bc"), "fzm5cvbh3rvgupckkc7er3fsma"),
        (("ab", "c"), "ifreshze4kq5xkvtzjbl35sblm"),
        (("é",), "cqffhpixtipizvybtuj67342lu"),
        (("message", "telegram", "bot", "-100", "text", "42"), "jqroczs3omgbnmvdnvucoqqibm"),
    ],
)
def test_digests_never_change(parts: tuple[str | None, ...], expected: str) -> None:
    assert digest_of(parts) == expected
    assert _again(*parts) == expected


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        (Scope.MAIN, "h3zqa4wwtev4er2soz3ini44xy"),
        (Scope.PER_CHAT, "i6oybzwcjpr7rmgdp5idkayaje"),
        (Scope.PER_USER, "mroketjc32bfda3wzgtfxxoa6q"),
        (Scope.PER_CHAT_USER, "ytguuejbj2kqfr4zk3febexoqm"),
        (Scope.PER_ACCOUNT_CHAT_USER, "3chqvlpixlwcd6wbwvdb4qqd34"),
    ],
)
def test_conversation_ids_never_change(scope: Scope, expected: str) -> None:
    assert conversation_id_for(_ADDRESS, scope) == expected
    assert _again(*_GOLDEN[scope]) == expected


def test_every_scope_has_a_golden_value() -> None:
    assert _GOLDEN.keys() == set(Scope)


@pytest.mark.parametrize(
    ("conversation", "partitions", "expected"),
    [
        ("i6oybzwcjpr7rmgdp5idkayaje", 1, 0),
        ("i6oybzwcjpr7rmgdp5idkayaje", 8, 7),
        ("i6oybzwcjpr7rmgdp5idkayaje", 64, 47),
        ("aaaaaaaaaaaaaaaaaaaaaaaaaa", 64, 56),
        ("aaaaaaaaaaaaaaaaaaaaaaaaaa", 4096, 2744),
    ],
)
def test_partitions_never_change(conversation: str, partitions: int, expected: int) -> None:
    assert partition_for(ConversationId(conversation), partitions) == expected
    assert zlib.crc32(conversation.encode("ascii")) % partitions == expected


def test_a_chat_without_a_thread_is_another_conversation() -> None:
    without = _ADDRESS.model_copy(update={"thread": None})
    assert conversation_id_for(without, Scope.PER_CHAT) == _again("per_chat", "telegram", "-100", None)


def test_scopes_differ_by_what_they_name() -> None:
    elsewhere = _ADDRESS.model_copy(update={"chat": "-200", "thread": None})
    other_bot = _ADDRESS.model_copy(update={"account": "other"})
    other_user = _ADDRESS.model_copy(update={"user": "8"})

    def same(other: Address) -> set[Scope]:
        return {scope for scope in Scope if conversation_id_for(other, scope) == conversation_id_for(_ADDRESS, scope)}

    assert same(elsewhere) == {Scope.MAIN, Scope.PER_USER}
    assert same(other_bot) == set(Scope) - {Scope.PER_ACCOUNT_CHAT_USER}
    assert same(other_user) == {Scope.MAIN, Scope.PER_CHAT}


def test_conversations_without_a_chat_are_all_different() -> None:
    made_up = {new_conversation_id() for _ in range(100)}
    assert len(made_up) == 100
    assert all(re.fullmatch("[a-z2-7]{26}", conversation) for conversation in made_up)


def test_a_session_id_tells_its_conversation_and_generation() -> None:
    conversation = conversation_id_for(_ADDRESS, Scope.PER_CHAT)
    session = session_id_for(conversation, 12)
    assert (conversation_of(session), generation_of(session)) == (conversation, 12)


def test_the_same_bytes_parked_again_are_the_same_parked_input() -> None:
    assert parked_id_for("1", b"body") == hashlib.blake2b(b"1\0body", digest_size=16).hexdigest()
    assert parked_id_for("1", b"body") != parked_id_for("1", b"other")
    assert parked_id_for("1", b"body") != parked_id_for("2", b"body")
