"""What a filter selects, in stores that go through all there is."""

from datetime import timedelta
from typing import Any, Final

import pytest

from agentbus.contracts.address import Address, Platform
from agentbus.contracts.history import SessionFilter
from agentbus.contracts.profile import Profile
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.storage.listing import listed, selected
from tests.harness.builders import NOON, a_conversation, a_head

PARENT: Final = f"{a_conversation('parent')}.1"
HEAD: Final = a_head(a_conversation("here")).model_copy(
    update={
        "address": Address(platform=Platform.WEB, account="bot", chat="room", user="ann"),
        "profile": Profile(owner="bob", agent_id="helper", parent_id=PARENT, tags=("red", "blue")),
        "identity": "carol",
        "status": SessionStatus.IDLE,
    }
)
TOLD: Final[dict[str, tuple[Any, Any]]] = {
    "platform": (Platform.WEB, Platform.SLACK),
    "account": ("bot", "default"),
    "chat": ("room", "hall"),
    "user": ("ann", "bob"),
    "owner": ("bob", "ann"),
    "agent_id": ("helper", "critic"),
    "parent_id": (PARENT, f"{a_conversation('parent')}.2"),
    "tags": (("blue", "red"), ("red", "green")),
    "status": (SessionStatus.IDLE, SessionStatus.ACTIVE),
    "conversation_id": (HEAD.conversation_id, a_conversation("elsewhere")),
    "identity": ("carol", "ann"),
    "conflicts": (False, True),
}
"""By a filter's field: what selects the session, and what does not."""


def _selects(head: SessionState, **where: Any) -> bool:
    return list(selected([head], SessionFilter(**where))) == [head]


@pytest.mark.parametrize("name", SessionFilter.model_fields)
def test_each_field_of_a_filter_selects_by_what_a_session_says(name: str) -> None:
    yes, no = TOLD[name]
    assert _selects(HEAD, **{name: yes})
    assert not _selects(HEAD, **{name: no})


def test_all_of_a_filter_holds_for_what_is_selected() -> None:
    assert _selects(HEAD)
    assert _selects(HEAD, **{name: yes for name, (yes, _) in TOLD.items()})
    assert not _selects(HEAD, owner="bob", platform=Platform.SLACK)


@pytest.mark.parametrize("name", ["platform", "account", "chat", "user"])
def test_a_session_without_an_address_is_in_no_chat(name: str) -> None:
    assert not _selects(HEAD.model_copy(update={"address": None}), **{name: TOLD[name][0]})


def test_a_deleted_session_is_selected_by_its_status_alone() -> None:
    deleted = HEAD.model_copy(update={"status": SessionStatus.DELETED})
    assert not _selects(deleted, owner="bob")
    assert _selects(deleted, owner="bob", status=SessionStatus.DELETED)


@pytest.mark.parametrize("count", [None, 1, 3, 9])
def test_as_many_as_asked_for_are_listed_after_a_position(count: int | None) -> None:
    items = [(NOON + timedelta(seconds=second), name) for second in (1, 3, 2) for name in ("b", "a")]
    expected = sorted(items, key=lambda item: (-item[0].timestamp(), item[1]))

    for at, after in enumerate([None, *expected]):
        assert listed(items, lambda item: item, after, count) == expected[at:][:count]
