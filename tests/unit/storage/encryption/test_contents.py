"""What is encrypted: of everything that is kept each field was decided about; what is changed or moved is found out."""

import base64
from typing import Any, Final, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, JsonValue

from agentbus.contracts.base import Sealable
from agentbus.contracts.errors import KeyMissing, StoreDamaged
from agentbus.contracts.events import AnyEvent, DataSet, MessageAppended, SessionRestored
from agentbus.contracts.events.base import SessionEvent
from agentbus.contracts.messages import Attachment, CommandContent, Role, TextContent
from agentbus.contracts.parked import ParkedInput
from agentbus.contracts.records import Record, RecordKind
from agentbus.contracts.session import SessionState
from agentbus.storage.encryption.contents import (
    ENCRYPTED,
    READABLE_RECORDS,
    decrypted,
    encrypted,
    of_conversation,
    of_user,
    subject_of,
    words_in,
)
from agentbus.storage.encryption.data_keys import DataKey, Destroyed, Opened
from agentbus.testing.conformance.store_shared_suite import a_conflict
from agentbus.workers.domain import redaction
from tests.harness.builders import (
    NOON,
    a_conversation,
    a_head,
    appended,
    begun,
    data_set,
    edited,
    reacted,
)
from tests.harness.encryption import FIRST

READABLE: Final[dict[str, str]] = {
    "SessionStarted": "reason address profile previous stamp",
    "StateChanged": "previous status previous_state state handler",
    "SessionClosed": "why previous_state handler",
    "ProfileChanged": "profile act user permission fields",
    "HistoryTrimmed": "before",
    "SessionDeleted": "deleted",
    "FenceRaised": "fence",
    "SessionBlocked": "code",
    "SessionUnblocked": "waiting",
    "MessageAppended": "source restored",
    "MessageEdited": "target source source_version",
    "MessageDeleted": "target source",
    "ReactionChanged": "target user removed",
    "DataSet": "stamp",
    "MetadataSet": "stamp",
    "IdentityLinked": "linked",
    "IdentityUnlinked": "unlinked",
    "ContextMerged": "source strategy",
    "ConflictOpened": "",
    "ConflictResolved": "",
    "ExpiryStepTaken": "rule_id step action next_at earlier",
    "SessionArchived": "archive archived",
    "SessionRestored": "restored status",
    "ConversationErased": "",
    "ReplyRequested": "message to reacts_to",
    "ReplySent": "reply message_ids maybe_doubled resolved seen",
    "ReplyFailed": "reply resolved",
    "ReplyUnknown": "reply",
    "ReplyReopened": "reply",
    "ReplyDelivered": "reply told_at",
    "ReplyRead": "reply told_at",
    "ReplyChangeRequested": "reply",
    "ReplyEdited": "reply message_id seen",
    "ReplyUnchanged": "reply seen",
    "SessionState": "conversation_id generation version epoch sequence first_version status state address profile "
    "message_count shown_from fence created_at last_activity identity unlinked clock expiry last_step archive restored "
    "erased blocked_by waiting replies recent_inputs",
    "Record": "kind key group created_at revision due_at",
    "ParkedInput": "parked_id message_id conversation_id queue code attempts parked_at position status size",
}
"""The fields that stay readable. Whoever adds one that people write into adds it to ENCRYPTED instead."""
ENCRYPTED_OF_PARKED: Final = {"reason", "stack", "body"}

KEY: Final = DataKey("key.1", FIRST)
KEYS: Final[dict[str, Opened]] = {KEY.name: KEY}
ONE: Final = a_conversation("one")

texts = st.text(max_size=20)
names = st.text(min_size=1, max_size=20)
keys = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=5)
data: st.SearchStrategy[dict[str, JsonValue]] = st.dictionaries(
    keys, st.none() | st.booleans() | st.integers(0, 9) | texts, max_size=3
)
attachments = st.lists(st.builds(Attachment, uri=names, name=st.none() | names), max_size=2).map(tuple)
contents = st.builds(TextContent, text=texts, attachments=attachments) | st.builds(
    CommandContent, name=st.just("start"), arguments=texts
)


def kept(item: Any) -> Any:
    return encrypted(item, {subject_of(item): KEY})


def read(item: Any, keys: dict[str, Opened] = KEYS) -> Any:
    return decrypted(item, keys, "this")


@st.composite
def items(draw: st.DrawFn) -> Sealable:
    """Draw something that is kept."""
    event = appended(ONE, draw(st.integers(1, 9)), "m")
    message = event.message.model_copy(
        update={"content": draw(contents), "author": draw(st.none() | names), "role": draw(st.sampled_from(Role))}
    )
    head = a_head(ONE, data=draw(data)).model_copy(
        update={"metadata": draw(data), "conflicts": draw(st.sampled_from([(), (a_conflict(),)]))}
    )
    record = Record(kind=RecordKind.CHECKPOINT, key="c", group=head.session_id, created_at=NOON, data=draw(data))
    restored = SessionRestored(
        session_id=head.session_id, sequence=2, at=NOON, cause=event.cause, restored=head.session_id,
        status=head.status, data=draw(data), conflicts=head.conflicts,
    )  # fmt: skip
    chosen: list[Sealable] = [
        event.model_copy(update={"message": message}),
        edited(ONE, 2, "m", draw(texts)),
        reacted(ONE, 3, "m", "heart"),
        data_set(ONE, 4, draw(data)),
        begun(ONE).model_copy(update={"data": draw(data)}),
        restored,
        head,
        record,
    ]
    return draw(st.sampled_from(chosen))


@settings(max_examples=50)
@given(item=items())
def test_whatever_is_said_comes_back(item: Sealable) -> None:
    there = kept(item)

    again = type(item).model_validate_json(there.model_dump_json())
    assert again == there
    assert read(again) == item
    assert read(there).model_dump_json() == item.model_dump_json()
    assert not words_in(there)
    assert (there.sealed is not None) == bool(words_in(item))


@settings(max_examples=50)
@given(item=items().filter(words_in), bit=st.integers(0, 7), data=st.data())
def test_any_change_of_a_ciphertext_is_found_out(item: Sealable, bit: int, data: st.DataObject) -> None:
    there = kept(item)
    name, _, text = there.sealed.partition(":")
    raw = bytearray(base64.b64decode(text))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << bit
    changed = there.model_copy(update={"sealed": f"{name}:{base64.b64encode(raw).decode()}"})

    with pytest.raises(StoreDamaged, match=r"^this can't be decrypted: it was changed, or belongs elsewhere"):
        read(changed)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (data_set(ONE, 1, {"a": 1}), data_set(ONE, 2, {"b": 2})),
        (data_set(ONE, 1, {"a": 1}), data_set(a_conversation("other"), 1, {"b": 2})),
        (a_head(ONE, data={"a": 1}), a_head(ONE, generation=2, data={"b": 2})),
        (
            Record(kind=RecordKind.CHECKPOINT, key="a", created_at=NOON, data={"a": 1}),
            Record(kind=RecordKind.CHECKPOINT, key="b", created_at=NOON, data={"b": 1}),
        ),
    ],
)
def test_what_was_put_in_the_place_of_another_is_found_out(one: Sealable, other: Sealable) -> None:
    swapped = kept(one).model_copy(update={"sealed": kept(other).sealed})

    with pytest.raises(StoreDamaged, match="belongs elsewhere"):
        read(swapped)


@pytest.mark.parametrize("sealed", ["", "key.1", "key.1:", "key.1:???", "key.1:AAAA", ":AAAA"])
def test_what_is_no_ciphertext_is_damage(sealed: str) -> None:
    with pytest.raises(StoreDamaged, match=r"^this "):
        read(kept(data_set(ONE, 1, {"a": 1})).model_copy(update={"sealed": sealed}))


def test_without_its_key_it_says_which() -> None:
    there = kept(data_set(ONE, 1, {"a": 1}))

    with pytest.raises(KeyMissing, match=r"key\.1 is needed: give them by AGENTBUS_ENCRYPTION_KEYS") as error:
        read(there, {})
    assert error.value.details["data_key"] == "key.1"


def test_of_a_key_that_was_destroyed_nothing_is_left() -> None:
    head = a_head(ONE, data={"a": 1}).model_copy(update={"conflicts": (a_conflict(),)})

    assert read(kept(head), {"key.1": Destroyed()}) == a_head(ONE)
    said = read(kept(appended(ONE, 1, "m")), {"key.1": Destroyed()})
    assert isinstance(said, MessageAppended)
    assert (said.message.content, said.message.author) == (TextContent(), None)


def test_a_message_is_its_writers_and_the_rest_the_conversations() -> None:
    said = appended(ONE, 1, "m")
    assert subject_of(said) == of_user("user")
    assert subject_of(said.model_copy(update={"actor": "ann"})) == of_user("ann")
    answer = said.message.model_copy(update={"role": Role.ASSISTANT})
    assert subject_of(said.model_copy(update={"message": answer, "actor": "ann"})) == of_user("user")
    unaddressed = said.message.model_copy(update={"address": None})
    assert subject_of(said.model_copy(update={"message": unaddressed})) == of_conversation(ONE)
    assert subject_of(reacted(ONE, 1, "m", "heart", user="bob")) == of_user("bob")
    assert subject_of(data_set(ONE, 1, {"a": 1})) == subject_of(a_head(ONE)) == of_conversation(ONE)
    state = Record(kind=RecordKind.COMPONENTS, key=f"{ONE}.1", created_at=NOON, data={"a": 1})
    assert subject_of(state) == of_conversation(ONE)
    assert subject_of(state.model_copy(update={"key": "my agent"})) == "state:my agent"
    told = Record(kind=RecordKind.TRACKED_EVENT, key="told", group=f"{ONE}.1", created_at=NOON, data={"a": 1})
    assert subject_of(told) == of_conversation(ONE)


def test_each_field_of_all_that_is_kept_was_decided_about() -> None:
    kinds: list[type[BaseModel]] = [*get_args(AnyEvent), SessionState, Record, ParkedInput]
    of_every_event = {*SessionEvent.model_fields, "kind"}
    for kind in kinds:
        chosen = ENCRYPTED_OF_PARKED if kind is ParkedInput else set(ENCRYPTED.get(kind, {}))
        others = of_every_event if issubclass(kind, SessionEvent) else {"sealed"}
        readable = set(READABLE[kind.__name__].split())
        assert chosen.isdisjoint(readable)
        assert chosen | readable == kind.model_fields.keys() - others, kind


def test_each_kind_of_record_was_decided_about() -> None:
    encrypted_kinds = {
        RecordKind.CHECKPOINT,
        RecordKind.TEMPLATE,
        RecordKind.IDENTITY,
        RecordKind.CLAIM_CODE,
        RecordKind.COMPONENTS,
        RecordKind.TRACKED_EVENT,
    }
    assert encrypted_kinds.isdisjoint(READABLE_RECORDS)
    assert encrypted_kinds | READABLE_RECORDS == set(RecordKind)


def test_what_an_erasure_empties_is_encrypted() -> None:
    for kind, emptied in redaction._CONTENTS.items():
        assert emptied.keys() <= ENCRYPTED[kind].keys()
    assert DataSet in redaction._CONTENTS
