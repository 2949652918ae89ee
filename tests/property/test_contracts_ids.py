"""No two different things ever share an id, however their parts are cut."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from agentbus.contracts.address import Address, Platform, Scope, conversation_id_for
from agentbus.contracts.base import MAX_ID_LENGTH
from agentbus.contracts.ids import ConversationId, digest_of, partition_for

_texts = st.text("abcé:./ ", min_size=1, max_size=20)
_conversations = st.lists(_texts, max_size=2).map(lambda parts: ConversationId(digest_of(parts)))
_parts = st.lists(st.none() | st.text("ab\x00\xff", max_size=3), max_size=4).map(tuple)


@given(_parts, _parts)
def test_different_keys_never_have_the_same_digest(one: tuple[str | None, ...], other: tuple[str | None, ...]) -> None:
    assume(one != other)
    assert digest_of(one) != digest_of(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("ab", "c"), ("a", "bc")),
        (("abc",), ("ab", "c")),
        ((None,), ("",)),
        (("",), ()),
        (("", "a"), ("a", "")),
        ((None, "a"), ("a", None)),
        (("a\x00b",), ("a", "b")),
        (("é",), ("e\u0301",)),
    ],
)
def test_keys_do_not_run_into_each_other(one: tuple[str | None, ...], other: tuple[str | None, ...]) -> None:
    assert digest_of(one) != digest_of(other)


@given(_texts, _texts, st.sampled_from([Scope.PER_CHAT_USER, Scope.PER_ACCOUNT_CHAT_USER]))
def test_moving_letters_between_chat_and_user_changes_the_conversation(chat: str, user: str, scope: Scope) -> None:
    assume(len(user) > 1 and len(chat) < MAX_ID_LENGTH)
    address = Address(platform=Platform.WEB, chat=chat, user=user)
    moved = Address(platform=Platform.WEB, chat=chat + user[0], user=user[1:])
    assert conversation_id_for(address, scope) != conversation_id_for(moved, scope)


@given(_conversations, st.integers(1, 4096))
def test_a_partition_is_one_of_those_there_are(conversation: ConversationId, partitions: int) -> None:
    assert 0 <= partition_for(conversation, partitions) < partitions
