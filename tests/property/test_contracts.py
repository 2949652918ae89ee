"""Contracts under any input: what goes onto the wire comes back the same, and no two things share an id."""

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from functools import cache
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # it ships no types
from pydantic import TypeAdapter

from agentbus.contracts.address import Address, Platform
from agentbus.contracts.base import MAX_ID_LENGTH, Timestamp, to_utc_milliseconds
from agentbus.contracts.changes import FieldChanges
from agentbus.contracts.commands import (
    AmendCopy,
    AnyCommand,
    AppendMessage,
    ApplyDeadlines,
    ArchiveSession,
    ChangeState,
    CloseSession,
    CreateSession,
    DeleteMessage,
    DeleteSession,
    EditMessage,
    EraseConversation,
    ExpireSession,
    ExtendSession,
    LinkIdentity,
    MergeContext,
    React,
    RefreshSession,
    ReportReply,
    ResetSession,
    ResolveConflict,
    ResolveReply,
    RestoreCommit,
    RestoreContent,
    RestoreSession,
    SendReply,
    SetData,
    SetMetadata,
    SetVisibility,
    ShareSession,
    TrimHistory,
    UnblockSession,
    UnlinkIdentity,
    UpdateSession,
)
from agentbus.contracts.envelope import EventEnvelope, InputEnvelope
from agentbus.contracts.errors import InvalidInput
from agentbus.contracts.events import (
    AnyEvent,
    CloseReason,
    Commit,
    ConflictOpened,
    ConflictResolved,
    ContextMerged,
    ConversationErased,
    DataSet,
    ExpiryStepTaken,
    FenceRaised,
    HistoryTrimmed,
    IdentityLinked,
    IdentityUnlinked,
    MessageAppended,
    MessageDeleted,
    MessageEdited,
    MetadataSet,
    ProfileChanged,
    ReactionChanged,
    ReplyChangeRequested,
    ReplyDelivered,
    ReplyEdited,
    ReplyFailed,
    ReplyRead,
    ReplyReopened,
    ReplyRequested,
    ReplySent,
    ReplyUnchanged,
    ReplyUnknown,
    SessionArchived,
    SessionBlocked,
    SessionClosed,
    SessionDeleted,
    SessionRestored,
    SessionStarted,
    SessionUnblocked,
    StartReason,
    StateChanged,
)
from agentbus.contracts.expiry import ArchiveRef, CleanupAction
from agentbus.contracts.ids import ConversationId, InputId, MessageKey, digest_of, session_id_for
from agentbus.contracts.messages import (
    Attachment,
    AttachmentKind,
    ButtonContent,
    CommandContent,
    DeleteContent,
    EditContent,
    InboundMessage,
    Membership,
    MembershipContent,
    OutboundMessage,
    ReactionContent,
    Role,
    SessionMessage,
    TextContent,
    UnsupportedContent,
)
from agentbus.contracts.profile import Permission, Profile, ProfileChanges, SessionType, Visibility
from agentbus.contracts.replies import ReplyOutcome, ReplyResolution, reply_id_for
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.contracts.stamps import next_stamp
from agentbus.contracts.sync import Conflict, ConflictStrategy, Entry, Resolution, SyncOperation
from tests.harness.schemas import schema_of


@cache
def _schema(name: str) -> Draft202012Validator:
    """Check by a published schema, made when a test needs it and not in each process that looks here."""
    return Draft202012Validator(schema_of(name))


_TIMESTAMP: TypeAdapter[datetime] = TypeAdapter(Timestamp)

_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
_names = _text.filter(bool)
_ids = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters=[chr(c) for c in (*range(32), 127)]),
    min_size=1,
    max_size=30,
) | st.just("x" * MAX_ID_LENGTH)
# A day from either end: what UTC does not have is another test's business.
_moments = st.datetimes(
    datetime(1, 1, 3),  # noqa: DTZ001 - hypothesis adds the zone
    datetime(9999, 12, 29),  # noqa: DTZ001 - hypothesis adds the zone
    timezones=st.integers(-1439, 1439).map(lambda m: timezone(timedelta(minutes=m))),
)
_leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | _text
    | st.floats(allow_nan=False, allow_infinity=False)
)
_json = st.dictionaries(
    _text.filter(lambda key: "\x00" not in key),
    st.recursive(
        _leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_ids, inner, max_size=3), max_leaves=8
    ),
    max_size=4,
)
_conversations = st.lists(_ids, max_size=2).map(lambda parts: ConversationId(digest_of(parts)))
_sessions = st.builds(session_id_for, _conversations, st.integers(1, 999_999_999))
_keys = _ids.map(lambda key: MessageKey(digest_of([key])))

_addresses = st.builds(
    Address, platform=st.sampled_from(Platform), account=_ids, chat=_ids, thread=st.none() | _ids, user=_ids
)
_attachments = st.lists(
    st.builds(
        Attachment,
        kind=st.sampled_from(AttachmentKind),
        uri=_names,
        media_type=st.none() | _names,
        name=st.none() | _names,
        size=st.none() | st.integers(0, 2**63 - 1),
    ),
    max_size=2,
).map(tuple)
_spoken = st.one_of(
    st.builds(TextContent, text=_text, attachments=_attachments, reply_to=st.none() | _ids),
    st.builds(CommandContent, name=_ids, arguments=_text),
    st.builds(ButtonContent, data=_text, label=st.none() | _names, target=st.none() | _ids),
    st.builds(MembershipContent, change=st.sampled_from(Membership), members=st.lists(_ids, max_size=3).map(tuple)),
    st.builds(UnsupportedContent, what=_names, raw=_text, cut=st.booleans()),
)
_content = st.one_of(
    _spoken,
    st.builds(EditContent, target=_ids, target_user=st.none() | _ids, text=_text, attachments=_attachments),
    st.builds(DeleteContent, target=_ids, target_user=st.none() | _ids),
    st.builds(ReactionContent, target=_ids, target_user=st.none() | _ids, reaction=_ids, removed=st.booleans()),
)
_outbound = st.builds(
    OutboundMessage,
    role=st.sampled_from(Role),
    address=st.none() | _addresses,
    message_id=st.none() | _ids,
    author=st.none() | _names,
    sent_at=st.none() | _moments,
    content=_spoken,
)
_counts = st.integers(1, 2**63 - 1)
_whom = {
    "session_id": st.none() | _sessions,
    "address": st.none() | _addresses,
    "actor": st.none() | _ids,
    "fence": st.none() | _counts,
}
_reasons = st.none() | _names
_tags = st.lists(_names, max_size=3).map(tuple)
_seconds = st.floats(0.001, 1e9)
_lasting = {
    "agent_id": st.none() | _ids,
    "ai_model": st.none() | _names,
    "template": st.none() | _names,
    "expires_at": st.none() | _moments,
    "lifetime": st.none() | _seconds,
    "idle_timeout": st.none() | _seconds,
    "max_history": st.none() | st.integers(1, 1000),
}
_profiles = st.builds(
    Profile,
    owner=st.none() | _ids,
    session_type=st.sampled_from(SessionType),
    parent_id=st.none() | _sessions,
    tags=_tags,
    visibility=st.sampled_from(Visibility),
    shares=st.dictionaries(_ids, st.sampled_from(Permission), max_size=3),
    **_lasting,
)
_profile_changes = st.builds(
    ProfileChanges,
    session_type=st.none() | st.sampled_from(SessionType),
    tags=st.none() | _tags,
    clear=st.lists(st.sampled_from(["agent_id", "parent_id", "expires_at"]), max_size=2).map(tuple),
    **_lasting,
)
_changes = st.builds(
    FieldChanges,
    values=_json,
    remove=st.lists(_text, max_size=2).map(tuple),
    replace=st.booleans(),
    expected=_json,
    absent=st.lists(_text, max_size=2).map(tuple),
)
_stamps = st.builds(
    next_stamp,
    st.none(),
    _moments,
    st.none() | st.sampled_from(Platform),
    _conversations,
)
_fields = st.builds(
    lambda area, keys: "/".join(("", area, *(key.replace("~", "~0").replace("/", "~1") for key in keys))),
    st.sampled_from(["data", "metadata"]),
    st.lists(_ids, min_size=1, max_size=3),
)
_entries = st.builds(
    Entry,
    field=_fields,
    value=_leaves | st.just({}) | st.lists(_json, max_size=2),
    removed=st.booleans(),
    stamp=_stamps,
    base=st.none() | _stamps,
)
_several = st.lists(_entries, max_size=2).map(tuple)
_by_field = st.dictionaries(_fields, _stamps, max_size=2)
_archives = st.builds(
    ArchiveRef,
    url=_names,
    digest=st.sampled_from(["0" * 64, "9f" * 32]),
    sequence=_counts,
    messages=st.integers(0, 2**63 - 1),
    at=_moments,
)
_steps: dict[str, st.SearchStrategy[Any]] = {
    "rule_id": _ids,
    "step": st.integers(-1, 15),
    "action": st.sampled_from(CleanupAction),
    "next_at": st.none() | _moments,
}
_conflicts = st.builds(Conflict, held=st.none() | _entries, offered=_entries, source=_sessions, opened_at=_moments)
_resolutions = st.builds(Resolution, take_offered=st.booleans()) | st.builds(
    Resolution,
    strategy=st.sampled_from(sorted(set(ConflictStrategy) - {ConflictStrategy.MANUAL})),
    priority=st.lists(st.sampled_from(Platform), max_size=3).map(tuple),
)

_replies = st.builds(reply_id_for, _sessions, st.integers(1, 10**18 - 1))
_reason = st.text(max_size=50)
_platform_ids = st.lists(_ids, max_size=3).map(tuple)

_commands: dict[type[Any], st.SearchStrategy[Any]] = {
    CreateSession: st.builds(
        CreateSession, keep_live=st.booleans(), data=_json, metadata=_json, profile=_profiles, **_whom
    ),
    AppendMessage: st.builds(AppendMessage, message=_outbound, **_whom),
    EditMessage: st.builds(EditMessage, target=_ids, text=_text, attachments=_attachments, **_whom),
    DeleteMessage: st.builds(DeleteMessage, target=_ids, **_whom),
    SetData: st.builds(SetData, values=_json, remove=st.lists(_text, max_size=2).map(tuple), **_whom),
    SetMetadata: st.builds(SetMetadata, values=_json, remove=st.lists(_text, max_size=2).map(tuple), **_whom),
    UpdateSession: st.builds(
        UpdateSession,
        data=_changes,
        metadata=_changes,
        profile=_profile_changes,
        status=st.none() | st.sampled_from(SessionStatus),
        messages=st.lists(_outbound, max_size=2).map(tuple),
        **_whom,
    ),
    ShareSession: st.builds(ShareSession, user=_ids, permission=st.none() | st.sampled_from(Permission), **_whom),
    SetVisibility: st.builds(SetVisibility, visibility=st.sampled_from(Visibility), **_whom),
    ExtendSession: st.builds(ExtendSession, seconds=st.none() | _seconds, until=st.none() | _moments, **_whom),
    RefreshSession: st.builds(RefreshSession, **_whom),
    TrimHistory: st.builds(TrimHistory, before=_counts, **_whom),
    DeleteSession: st.builds(DeleteSession, **_whom),
    ApplyDeadlines: st.builds(ApplyDeadlines, **_whom),
    ResetSession: st.builds(ResetSession, reason=_reasons, **_whom),
    CloseSession: st.builds(CloseSession, reason=_reasons, **_whom),
    ChangeState: st.builds(ChangeState, status=st.sampled_from(SessionStatus), reason=_reasons, **_whom),
    UnblockSession: st.builds(UnblockSession, **_whom),
    LinkIdentity: st.builds(LinkIdentity, identity=_ids, **_whom),
    UnlinkIdentity: st.builds(UnlinkIdentity, identity=_ids, **_whom),
    ResolveConflict: st.builds(
        ResolveConflict, fields=st.lists(_fields, max_size=2).map(tuple), resolution=_resolutions, **_whom
    ),
    ExpireSession: st.builds(ExpireSession, seen=_counts, **_steps, **_whom),
    ArchiveSession: st.builds(ArchiveSession, archive=_archives, **_whom),
    RestoreSession: st.builds(
        RestoreSession,
        status=st.sampled_from(SessionStatus),
        digest=st.just("0" * 64),
        data=_json,
        metadata=_json,
        stamps=_by_field,
        conflicts=st.lists(_conflicts, max_size=2).map(tuple),
        **_whom,
    ),
    EraseConversation: st.builds(EraseConversation, **_whom),
    SendReply: st.builds(SendReply, message=_outbound, **_whom),
    React: st.builds(React, message_id=_ids, where=_addresses, reaction=_ids, **_whom),
    ReportReply: st.builds(
        ReportReply,
        reply=st.none() | _replies,
        outcome=st.sampled_from(ReplyOutcome),
        message_ids=_platform_ids,
        reason=_reason,
        maybe_doubled=st.booleans(),
        told_at=st.none() | _moments,
        **_whom,
    ),
    ResolveReply: st.builds(
        ResolveReply, reply=_replies, resolution=st.sampled_from(ReplyResolution), reason=_reason, **_whom
    ),
}
_said = st.builds(
    SessionMessage,
    key=_keys,
    message_id=_ids,
    role=st.sampled_from(Role),
    address=_addresses,
    author=st.none() | _names,
    sent_at=_moments,
    content=_spoken,
)
_commands[MergeContext] = st.builds(
    MergeContext,
    identity=_ids,
    source=_sessions,
    strategy=st.sampled_from(ConflictStrategy),
    priority=st.lists(st.sampled_from(Platform), max_size=3).map(tuple),
    operations=st.frozensets(st.sampled_from(SyncOperation)),
    entries=_several,
    messages=st.lists(_said, max_size=2).map(tuple),
    **_whom,
)
_commands[AmendCopy] = st.builds(
    AmendCopy, source=_sessions, target=_keys, text=st.none() | _text, attachments=_attachments, **_whom
)
_inbound = st.builds(
    InboundMessage,
    address=_addresses,
    message_id=_ids,
    sent_at=_moments,
    sender_name=st.none() | _names,
    content=_content,
)
_told = {
    "session_id": _sessions,
    "sequence": st.integers(1, 2**63 - 1),
    "at": _moments,
    "cause": _ids.map(InputId),
    "platform": st.sampled_from(Platform),
    "actor": st.none() | _ids,
    "identity": st.none() | _ids,
}
_appended = st.builds(
    MessageAppended, message=_said, source=st.none() | _sessions, restored=st.none() | st.just(True), **_told
)
_commands[RestoreCommit] = st.builds(
    RestoreCommit,
    restore=_ids,
    commit=st.builds(
        Commit,
        conversation_id=_conversations,
        version=_counts,
        at=_moments,
        inputs=st.lists(_ids.map(InputId), max_size=2).map(tuple),
        events=st.lists(_appended, max_size=2).map(tuple),
    ),
    after=st.none() | _ids.map(InputId),
    heads=st.lists(_conversations.map(SessionState.empty), max_size=1).map(tuple),
    **_whom,
)
_commands[RestoreContent] = st.builds(
    RestoreContent,
    restore=_ids,
    replace=st.booleans(),
    begins=st.booleans(),
    messages=st.lists(_appended, max_size=2).map(tuple),
    status=st.none() | st.sampled_from(SessionStatus),
    profile=st.none() | _profiles,
    data=_json,
    metadata=_json,
    stamps=_by_field,
    **_whom,
)
_inputs = st.builds(
    InputEnvelope,
    id=_ids,
    source=_names,
    time=st.none() | _moments,
    traceparent=st.none() | st.just(f"00-{'a' * 32}-{'b' * 16}-01"),
    partitionkey=st.none() | _conversations,
    data=st.one_of(_inbound, *_commands.values()),
)

_written: dict[str, st.SearchStrategy[Any]] = {
    "values": _json,
    "removed": st.lists(_text, max_size=2).map(tuple),
    "stamp": st.none() | _stamps,
    "bases": _by_field,
}
_events: dict[type[Any], st.SearchStrategy[Any]] = {
    SessionStarted: st.builds(
        SessionStarted,
        reason=st.sampled_from(StartReason),
        address=st.none() | _addresses,
        data=_json,
        metadata=_json,
        profile=_profiles,
        previous=st.none() | _sessions,
        stamp=st.none() | _stamps,
        **_told,
    ),
    MessageAppended: _appended,
    MessageEdited: st.builds(
        MessageEdited, target=_keys, text=_text, attachments=_attachments, source=st.none() | _sessions, **_told
    ),
    MessageDeleted: st.builds(MessageDeleted, target=_keys, source=st.none() | _sessions, **_told),
    ReactionChanged: st.builds(ReactionChanged, target=_keys, user=_ids, reaction=_ids, removed=st.booleans(), **_told),
    DataSet: st.builds(DataSet, **_written, **_told),
    MetadataSet: st.builds(MetadataSet, **_written, **_told),
    StateChanged: st.builds(
        StateChanged,
        previous=st.sampled_from(SessionStatus),
        status=st.sampled_from(SessionStatus),
        reason=_reasons,
        **_told,
    ),
    SessionClosed: st.builds(SessionClosed, why=st.sampled_from(CloseReason), reason=_reasons, **_told),
    ProfileChanged: st.builds(ProfileChanged, profile=_profiles, **_told),
    HistoryTrimmed: st.builds(HistoryTrimmed, before=_counts, **_told),
    SessionDeleted: st.builds(SessionDeleted, deleted=_sessions, **_told),
    FenceRaised: st.builds(FenceRaised, fence=_counts, **_told),
    SessionBlocked: st.builds(SessionBlocked, code=_ids, **_told),
    SessionUnblocked: st.builds(SessionUnblocked, **_told),
    IdentityLinked: st.builds(IdentityLinked, linked=_ids, **_told),
    IdentityUnlinked: st.builds(IdentityUnlinked, unlinked=_ids, **_told),
    ContextMerged: st.builds(
        ContextMerged,
        source=_sessions,
        strategy=st.sampled_from(ConflictStrategy),
        applied=_several,
        kept=_several,
        **_told,
    ),
    ConflictOpened: st.builds(ConflictOpened, conflicts=st.lists(_conflicts, max_size=2).map(tuple), **_told),
    ConflictResolved: st.builds(ConflictResolved, entries=_several, **_told),
    ExpiryStepTaken: st.builds(ExpiryStepTaken, earlier=st.none() | _sessions, **_steps, **_told),
    SessionArchived: st.builds(SessionArchived, archive=_archives, archived=_sessions, **_told),
    SessionRestored: st.builds(
        SessionRestored,
        restored=_sessions,
        status=st.sampled_from(SessionStatus),
        data=_json,
        metadata=_json,
        stamps=_by_field,
        conflicts=st.lists(_conflicts, max_size=2).map(tuple),
        **_told,
    ),
    ConversationErased: st.builds(ConversationErased, **_told),
    ReplyRequested: st.builds(ReplyRequested, message=_keys, to=_addresses, reacts_to=st.none() | _ids, **_told),
    ReplySent: st.builds(
        ReplySent,
        reply=_replies,
        message_ids=_platform_ids,
        maybe_doubled=st.booleans(),
        resolved=st.booleans(),
        **_told,
    ),
    ReplyFailed: st.builds(ReplyFailed, reply=_replies, reason=_reason, resolved=st.booleans(), **_told),
    ReplyUnknown: st.builds(ReplyUnknown, reply=_replies, reason=_reason, **_told),
    ReplyReopened: st.builds(ReplyReopened, reply=_replies, **_told),
    ReplyDelivered: st.builds(ReplyDelivered, reply=_replies, told_at=st.none() | _moments, **_told),
    ReplyRead: st.builds(ReplyRead, reply=_replies, told_at=st.none() | _moments, **_told),
    ReplyChangeRequested: st.builds(ReplyChangeRequested, reply=_replies, **_told),
    ReplyEdited: st.builds(
        ReplyEdited, reply=_replies, message_id=st.none() | _ids, seen=st.none() | st.integers(1, 10**6), **_told
    ),
    ReplyUnchanged: st.builds(ReplyUnchanged, reply=_replies, reason=_reason, **_told),
}


def test_every_kind_is_covered() -> None:
    assert _commands.keys() == set(get_args(AnyCommand))
    assert _events.keys() == set(get_args(AnyEvent))


@given(_inputs)
def test_an_input_comes_back_as_it_was_sent_and_fits_its_schema(envelope: InputEnvelope) -> None:
    wire = envelope.to_bytes()
    assert InputEnvelope.from_bytes(wire) == envelope
    _schema("input.json").validate(json.loads(wire))


@given(st.one_of(*_events.values()), st.none() | st.just(f"00-{'a' * 32}-{'b' * 16}-01"))
def test_an_event_comes_back_as_it_was_announced_and_fits_its_schema(event: AnyEvent, trace: str | None) -> None:
    envelope = EventEnvelope.of(event, trace)
    wire = envelope.to_bytes()
    assert EventEnvelope.from_bytes(wire) == envelope
    assert EventEnvelope.bytes_of(event, trace) == wire
    _schema("event.json").validate(json.loads(wire))
    assert int(envelope.sequence) == event.sequence
    assert envelope.id == f"{event.session_id}/{event.sequence}"


@given(_appended)
def test_an_event_of_a_session_without_a_chat_comes_back_as_it_was_announced(event: MessageAppended) -> None:
    message = event.message.model_copy(update={"address": None})
    told = event.model_copy(update={"platform": None, "message": message})
    envelope = EventEnvelope.of(told)
    wire = envelope.to_bytes()
    assert EventEnvelope.bytes_of(told) == wire
    _schema("event.json").validate(json.loads(wire))
    assert EventEnvelope.from_bytes(wire) == envelope


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_as_invalid(body: bytes) -> None:
    with pytest.raises(InvalidInput):
        InputEnvelope.from_bytes(body)


@given(_inputs, st.data())
def test_an_input_with_a_part_replaced_is_read_or_refused_as_invalid(
    envelope: InputEnvelope, data: st.DataObject
) -> None:
    """Whatever is wrong with it, the worker gets to know it as invalid input, not as a crash."""
    tree = json.loads(envelope.to_bytes())
    place = tree
    while True:
        key = data.draw(st.sampled_from(sorted(place)))
        if not (isinstance(place[key], dict) and place[key] and data.draw(st.booleans())):
            break
        place = place[key]
    place[key] = data.draw(_leaves | st.lists(_leaves, max_size=1) | _json)
    with suppress(InvalidInput):
        InputEnvelope.from_bytes(json.dumps(tree).encode())


@given(_inbound)
def test_the_same_message_has_the_same_id_whoever_publishes_it(message: InboundMessage) -> None:
    again = message.model_copy(update={"sender_name": "somebody", "sent_at": datetime(2026, 1, 1, tzinfo=UTC)})
    assert again.input_id() == message.input_id()
    assert again.key == message.key
    other = message.model_copy(update={"message_id": message.message_id[:-1] + "!?"[message.message_id.endswith("!")]})
    assert other.input_id() != message.input_id()


@given(_moments)
def test_a_moment_is_kept_in_utc_to_the_millisecond(moment: datetime) -> None:
    kept = to_utc_milliseconds(moment)
    assert kept.tzinfo is UTC
    assert kept.microsecond % 1000 == 0
    assert timedelta(0) <= moment - kept < timedelta(milliseconds=1)
    assert to_utc_milliseconds(kept) == kept
    assert _TIMESTAMP.validate_json(_TIMESTAMP.dump_json(kept)) == kept
