"""The small promises of the models themselves."""

import json

import pytest
from pydantic import ValidationError

from agentbus.contracts.address import Address, Platform, Scope, conversation_id_for
from agentbus.contracts.base import constructed, replaced
from agentbus.contracts.commands import CloseSession, SetData
from agentbus.contracts.envelope import EventEnvelope, InputEnvelope
from agentbus.contracts.errors import SchemaViolation, UnsupportedType
from agentbus.contracts.events import Commit, MessageDeleted
from agentbus.contracts.ids import ConversationId, InputId, MessageKey, session_id_for
from agentbus.contracts.messages import (
    MAX_RAW_LENGTH,
    ButtonContent,
    CommandContent,
    Membership,
    MembershipContent,
    Role,
    SessionMessage,
    Spoken,
    TextContent,
    UnsupportedContent,
    as_line,
)
from agentbus.contracts.schema.samples import COMMAND, CONVERSATION, EVENT, MESSAGE
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.contracts.topology import Topology
from tests.harness.conversations import NOW

_ADDRESS = Address(platform=Platform.WEB, chat="c", user="u")
_OTHER = ConversationId("b" * 26)


def test_a_partition_key_names_the_conversation_before_anything_else() -> None:
    assert MESSAGE.model_copy(update={"partitionkey": _OTHER}).conversation(Scope.PER_CHAT) == _OTHER


def test_a_session_id_names_the_conversation_of_a_command_before_its_address() -> None:
    data = CloseSession(session_id=session_id_for(_OTHER, 3), address=_ADDRESS)
    assert InputEnvelope(id="1", data=data).conversation(Scope.PER_CHAT) == _OTHER
    assert COMMAND.conversation(Scope.MAIN) == CONVERSATION


@pytest.mark.parametrize("scope", Scope)
def test_an_address_names_the_conversation_by_the_scope_policy(scope: Scope) -> None:
    envelope = InputEnvelope(id="1", data=SetData(address=_ADDRESS))
    assert envelope.conversation(scope) == conversation_id_for(_ADDRESS, scope)


def test_a_command_that_names_no_conversation_is_refused() -> None:
    with pytest.raises(SchemaViolation, match="partitionkey"):
        InputEnvelope(id="1", data=SetData()).conversation(Scope.MAIN)


def test_what_is_put_together_of_checked_values_is_what_checking_them_makes() -> None:
    fields = {"key": MessageKey("k"), "message_id": "1", "role": Role.USER, "sent_at": NOW, "content": TextContent()}
    made, checked = constructed(SessionMessage, **fields), SessionMessage.model_validate(fields)
    assert made == checked
    assert made.model_dump_json() == checked.model_dump_json()
    assert made.model_fields_set == checked.model_fields_set
    with pytest.raises(ValidationError):
        made.role = Role.SYSTEM  # type: ignore[misc]  # it is frozen all the same
    again, copied = replaced(made, {"author": "Ada"}), made.model_copy(update={"author": "Ada"})
    assert again == copied
    assert again.model_dump_json() == copied.model_dump_json()
    assert again.model_fields_set == copied.model_fields_set
    assert made == checked, "the first one is as it was"


def test_a_default_that_is_made_anew_is_not_shared() -> None:
    with pytest.raises(TypeError, match=r"SessionState\.data has a default that is made anew"):
        constructed(SessionState, conversation_id=_OTHER)


def test_only_the_first_of_many_faults_are_told() -> None:
    tree = json.loads(MESSAGE.to_bytes())
    tree["data"] |= {f"wrong{number}": 1 for number in range(7)}
    with pytest.raises(SchemaViolation, match="and 2 more"):
        InputEnvelope.from_bytes(json.dumps(tree).encode())


def test_an_input_is_no_event() -> None:
    with pytest.raises(UnsupportedType, match=r"agentbus\.input\.v1"):
        EventEnvelope.from_bytes(MESSAGE.to_bytes())


def test_a_conversation_without_a_session_has_no_session_id() -> None:
    empty = SessionState.empty(CONVERSATION)
    assert not empty.is_live
    with pytest.raises(ValueError, match="no session yet"):
        _ = empty.session_id


@pytest.mark.parametrize("status", SessionStatus)
def test_a_session_takes_messages_until_it_ended(status: SessionStatus) -> None:
    state = SessionState(conversation_id=CONVERSATION, generation=2, status=status)
    assert state.is_live == (status in {"active", "idle", "suspended"})
    assert state.session_id == f"{CONVERSATION}.2"


def test_a_commit_knows_which_messages_it_amends() -> None:
    deleted = MessageDeleted(
        session_id=EVENT.data.session_id,
        sequence=3,
        at=EVENT.data.at,
        cause=InputId("2"),
        platform=None,
        target=MessageKey("k"),
    )
    commit = Commit(
        conversation_id=CONVERSATION, version=2, at=deleted.at, inputs=(deleted.cause,), events=(EVENT.data, deleted)
    )
    assert commit.targets == {"k"}
    assert deleted.event_id == f"{deleted.session_id}/3"
    assert deleted.routing_key == "session.deleted.none"


def test_the_topology_computes_partitions_with_its_own_number_of_them() -> None:
    assert {Topology(partitions=1).partition_of(conversation) for conversation in (CONVERSATION, _OTHER)} == {0}


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (TextContent(text="hello"), "hello"),
        (CommandContent(name="start", arguments="now"), "/start now"),
        (CommandContent(name="start"), "/start"),
        (ButtonContent(data="y:1", label="Yes"), "Yes"),
        (ButtonContent(data="y:1"), "y:1"),
        (MembershipContent(change=Membership.LEFT, members=("ann", "bob")), "left ann bob"),
        (UnsupportedContent(what="poll", raw='{"poll": 1}'), "(poll)"),
    ],
)
def test_every_content_reads_as_a_line(content: Spoken, line: str) -> None:
    assert as_line(content) == line


def test_what_is_not_understood_is_kept_up_to_its_limit_and_says_if_it_is_cut() -> None:
    assert UnsupportedContent.of("poll", "{}") == UnsupportedContent(what="poll", raw="{}")
    cut = UnsupportedContent.of("poll", "é" * (MAX_RAW_LENGTH + 1))
    assert (len(cut.raw), cut.cut) == (MAX_RAW_LENGTH, True)
