"""Linking conversations to a person: what it lets in, what it does not, and what outlives a session."""

from datetime import timedelta

import pytest

from agentbus.contracts.address import Platform
from agentbus.contracts.commands import (
    AnyCommand,
    ArchiveSession,
    ChangeState,
    CloseSession,
    CreateSession,
    DeleteSession,
    EraseConversation,
    ExpireSession,
    LinkIdentity,
    ResetSession,
    ResolveConflict,
    RestoreSession,
    SetData,
    UnlinkIdentity,
)
from agentbus.contracts.errors import AccessDenied, ConversationBlocked, IdentityConflict, SessionNotFound
from agentbus.contracts.events import IdentityLinked, IdentityUnlinked, MessageAppended, SessionBlocked, SessionStarted
from agentbus.contracts.expiry import ArchiveRef, CleanupAction
from agentbus.contracts.ids import InputId, session_id_for
from agentbus.contracts.messages import Role, SessionMessage, TextContent
from agentbus.contracts.profile import Permission, Profile
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.contracts.sync import ConflictStrategy, Resolution
from tests.harness.builders import a_key
from tests.harness.conversations import NOW, address, message
from tests.harness.linked import ANN, after, conversation, entry, events_of, linked, merge, stamp, step

LINKED = linked("web", {"city": "Oslo"})
ALONE = step(LINKED, UnlinkIdentity(identity=ANN))
ROME = entry("/data/city", "Rome", stamp(5))
LATER = NOW + timedelta(hours=1)


def copied(name: str = "there", user: str = "ann@slack") -> SessionMessage:
    return SessionMessage(
        key=a_key(name),
        message_id=name,
        role=Role.USER,
        address=address(user=user, platform=Platform.SLACK),
        sent_at=NOW,
        content=TextContent(text=f"says {name}"),
    )


def test_a_link_is_an_event_that_names_whose_it_is() -> None:
    (event,) = events_of(ALONE, LinkIdentity(identity=ANN))
    assert isinstance(event, IdentityLinked)
    assert (event.linked, event.identity) == (ANN, ANN)
    assert after(ALONE, [event]).identity == ANN


def test_linking_again_changes_nothing_and_to_somebody_else_is_refused() -> None:
    assert events_of(LINKED, LinkIdentity(identity=ANN)) == ()
    with pytest.raises(IdentityConflict, match="unlink it first"):
        events_of(LINKED, LinkIdentity(identity="bob"))


def test_an_unlink_is_an_event_of_whose_it_was() -> None:
    (event,) = events_of(LINKED, UnlinkIdentity(identity=ANN))
    assert isinstance(event, IdentityUnlinked)
    assert (event.unlinked, event.identity) == (ANN, ANN)
    state = after(LINKED, [event])
    assert (state.identity, state.data) == (None, {"city": "Oslo"})
    assert events_of(state, UnlinkIdentity(identity=ANN)) == ()
    assert events_of(LINKED, UnlinkIdentity(identity="bob")) == ()


def test_every_event_of_a_linked_conversation_names_the_identity_and_of_others_none_does() -> None:
    for data in (message(1), SetData(values={"a": 1}), ResetSession(), CreateSession(), CloseSession()):
        assert {event.identity for event in events_of(LINKED, data)} == {ANN}
        assert {event.identity for event in events_of(ALONE, data)} == {None}


@pytest.mark.parametrize("end", [CloseSession(), DeleteSession(), None], ids=["closed", "deleted", "reset"])
def test_a_link_outlives_the_session(end: AnyCommand | None) -> None:
    state = step(step(LINKED, end), message(1)) if end else step(LINKED, ResetSession())
    assert (state.generation, state.identity, state.clock) == (2, ANN, LINKED.clock)
    assert (state.data, state.stamps, state.conflicts) == ({}, {}, ())


def test_a_conversation_can_be_linked_after_its_session_ended_and_unlinked_after_it_was_deleted() -> None:
    closed = step(ALONE, CloseSession())
    assert step(closed, LinkIdentity(identity=ANN)).identity == ANN
    deleted = step(LINKED, DeleteSession())
    assert step(deleted, UnlinkIdentity(identity=ANN)).identity is None
    with pytest.raises(SessionNotFound):
        events_of(step(ALONE, DeleteSession()), LinkIdentity(identity=ANN))


def test_a_conversation_can_be_linked_by_any_of_its_sessions() -> None:
    state = step(ALONE, ResetSession())
    linked_by_first = step(state, LinkIdentity(identity=ANN, session_id=ALONE.session_id))
    assert linked_by_first.identity == ANN
    assert step(linked_by_first, UnlinkIdentity(identity=ANN, session_id=ALONE.session_id)).identity is None
    with pytest.raises(SessionNotFound):
        events_of(state, LinkIdentity(identity=ANN, session_id=session_id_for(state.conversation_id, 3)))


# What comes from linked sessions


def nothing_happens() -> dict[str, SessionState]:
    return {
        "not linked": ALONE,
        "linked to somebody else": step(ALONE, LinkIdentity(identity="bob")),
        "closed": step(LINKED, CloseSession()),
        "deleted": step(LINKED, DeleteSession()),
        "expired": step(LINKED, ChangeState(status=SessionStatus.EXPIRED)),
    }


@pytest.mark.parametrize("state", nothing_happens().values(), ids=nothing_happens().keys())
def test_nothing_comes_in_without_a_live_session_that_is_linked(state: SessionState) -> None:
    command = merge(ROME).model_copy(update={"messages": (copied(),)})
    assert events_of(state, command) == ()


def test_what_was_for_a_session_that_is_over_does_not_come_into_the_next_one() -> None:
    state = step(LINKED, ResetSession())
    assert events_of(state, merge(ROME).model_copy(update={"session_id": LINKED.session_id})) == ()
    assert step(state, merge(ROME).model_copy(update={"session_id": state.session_id})).data == {"city": "Rome"}


def test_a_session_whose_time_is_over_takes_nothing_but_says_so() -> None:
    state = step(
        SessionState.empty(conversation("line")),
        CreateSession(profile=Profile(expires_at=NOW + timedelta(minutes=1))),
    )
    state = step(state, LinkIdentity(identity=ANN))
    assert [event.kind for event in events_of(state, merge(ROME), LATER)] == ["state_changed"]


@pytest.mark.parametrize("status", [SessionStatus.ACTIVE, SessionStatus.IDLE, SessionStatus.SUSPENDED])
def test_a_merge_wakes_nobody(status: SessionStatus) -> None:
    state = LINKED if status is SessionStatus.ACTIVE else step(LINKED, ChangeState(status=status))
    merged = step(state, merge(ROME).model_copy(update={"messages": (copied(),)}), NOW + timedelta(minutes=9))
    assert merged.data == {"city": "Rome"}
    assert (merged.status, merged.last_activity, merged.address) == (status, state.last_activity, state.address)


def test_copied_messages_are_marked_and_leave_the_address_where_it_was() -> None:
    command = merge().model_copy(update={"messages": (copied("one"), copied("two"))})
    events = events_of(LINKED, command, LATER)
    assert [event.routing_key for event in events] == ["session.copied.web", "session.copied.web"]
    for event in events:
        assert isinstance(event, MessageAppended)
        assert event.source == command.source
    state = after(LINKED, events)
    assert state.message_count == LINKED.message_count + 2
    assert (state.address, state.last_activity) == (LINKED.address, LINKED.last_activity)
    answered = step(state, message(3), LATER)
    assert answered.address == message(3).address


def test_a_merge_goes_on_beside_an_input_that_the_conversation_waits_for() -> None:
    number = LINKED.sequence + 1
    happened = SessionBlocked(session_id=LINKED.session_id, sequence=number, at=NOW, cause=InputId("x"), code="c")
    blocked = after(LINKED, [happened])
    with pytest.raises(ConversationBlocked):
        events_of(blocked, SetData(values={"a": 1}))
    assert step(blocked, merge(ROME)).data == {"city": "Rome"}
    assert step(blocked, EraseConversation()).erased


# Who may


OWN: list[AnyCommand] = [
    LinkIdentity(identity="bob"),
    UnlinkIdentity(identity=ANN),
    ResolveConflict(resolution=Resolution(take_offered=True)),
    merge(ROME, strategy=ConflictStrategy.MERGE),
    ExpireSession(rule_id="rule", step=0, action=CleanupAction.NOTIFY, seen=1),
    ArchiveSession(archive=ArchiveRef(url="memory://a", digest="0" * 64, sequence=1, messages=0, at=NOW)),
    RestoreSession(status=SessionStatus.ACTIVE, digest="0" * 64),
    EraseConversation(),
]


@pytest.mark.parametrize("command", OWN, ids=lambda command: command.kind)
def test_only_the_owner_may(command: AnyCommand) -> None:
    shares = {"writer": Permission.WRITE, "reader": Permission.READ}
    state = step(LINKED, CreateSession(profile=Profile(owner="ada", shares=shares)))
    for user in ("writer", "reader", "stranger"):
        with pytest.raises(AccessDenied):
            events_of(state, command.model_copy(update={"actor": user}))


@pytest.mark.parametrize("command", OWN[4:7], ids=lambda command: command.kind)
def test_what_is_done_to_an_earlier_session_is_done_for_nobody(command: AnyCommand) -> None:
    state = step(LINKED, ResetSession())
    with pytest.raises(AccessDenied):
        events_of(state, command.model_copy(update={"actor": "ada", "session_id": LINKED.session_id}))


def test_the_owner_may_link_and_unlink() -> None:
    assert step(LINKED, UnlinkIdentity(identity=ANN, actor="ada")).identity is None
    assert step(ALONE, LinkIdentity(identity=ANN, actor="ada")).identity == ANN
    (started, *_) = events_of(step(LINKED, CloseSession()), message(1))
    assert isinstance(started, SessionStarted)
    assert started.identity == ANN
