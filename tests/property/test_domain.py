"""Laws of the session's state machine, over any sequence of inputs."""

from datetime import timedelta

import bson
import pytest
from hypothesis import given as over
from hypothesis import strategies as st

from agentbus.contracts.address import Platform
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
    RefreshSession,
    ResetSession,
    ResolveConflict,
    RestoreContent,
    RestoreSession,
    SetData,
    SetMetadata,
    SetVisibility,
    ShareSession,
    TrimHistory,
    UnblockSession,
    UnlinkIdentity,
    UpdateSession,
)
from agentbus.contracts.envelope import Input
from agentbus.contracts.errors import AccessDenied, Refused
from agentbus.contracts.events import Commit, SessionStarted
from agentbus.contracts.expiry import ArchiveRef, CleanupAction
from agentbus.contracts.ids import ConversationId, InputId, session_id_for
from agentbus.contracts.messages import (
    DeleteContent,
    EditContent,
    InboundMessage,
    OutboundMessage,
    ReactionContent,
    TextContent,
)
from agentbus.contracts.profile import Permission, Profile, ProfileChanges, Visibility
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.contracts.stamps import next_stamp
from agentbus.contracts.sync import ConflictStrategy, Entry, Resolution, SyncOperation
from agentbus.storage.mongo.codec import head_document
from agentbus.storage.mongo.partial import HeadEncoder
from agentbus.workers.domain.access import Right, right_of
from agentbus.workers.domain.deadlines import has_expired
from agentbus.workers.domain.decide import decide
from agentbus.workers.domain.evolve import heads_after, replay
from tests.harness.conversations import CONVERSATION, NOW, message

values = st.dictionaries(st.sampled_from("abc"), st.integers(-3, 3), max_size=3)
removals = st.lists(st.sampled_from("abc"), max_size=2).map(tuple)
contents = st.one_of(
    st.builds(TextContent, text=st.text(max_size=8)),
    st.builds(EditContent, target=st.sampled_from("123"), text=st.text(max_size=8)),
    st.builds(DeleteContent, target=st.sampled_from("123")),
    st.builds(ReactionContent, target=st.sampled_from("123"), reaction=st.sampled_from("👍👎"), removed=st.booleans()),
)
inbound = st.builds(lambda content: message(content=content), contents)
outbound = st.builds(OutboundMessage, content=st.just(TextContent(text="ok")))
users = st.sampled_from(["ada", "bob", "eve"])
seconds = st.sampled_from([0.5, 1, 3, 10])
moments = seconds.map(lambda later: NOW + timedelta(seconds=later))
fields = st.builds(
    FieldChanges, values=values, remove=removals, replace=st.booleans(), expected=values | st.just({}), absent=removals
)
profiles = st.builds(
    Profile,
    owner=st.none() | users,
    visibility=st.sampled_from(Visibility),
    shares=st.dictionaries(users, st.sampled_from(Permission), max_size=2),
    expires_at=st.none() | moments,
    lifetime=st.none() | seconds,
    idle_timeout=st.none() | seconds,
)
profile_changes = st.just(ProfileChanges()) | st.builds(
    ProfileChanges,
    tags=st.none() | st.just(("tag",)),
    expires_at=st.none() | moments,
    idle_timeout=st.none() | seconds,
    clear=st.sampled_from([(), ("expires_at", "lifetime"), ("idle_timeout",)]),
)
statuses = st.sampled_from(SessionStatus)
identities = st.just("ann") | st.sampled_from(["ann", "bob"])
entries = st.lists(
    st.builds(
        Entry,
        field=st.sampled_from(["/data/a", "/data/a/b", "/data/b", "/metadata/a"]),
        value=st.integers(0, 2),
        removed=st.booleans(),
        stamp=st.builds(
            lambda seconds, origin: next_stamp(None, NOW + timedelta(seconds=seconds), "slack", origin),
            st.integers(-5, 30),
            st.sampled_from([ConversationId("b" * 26), ConversationId("c" * 26)]),
        ),
    ),
    max_size=3,
).map(tuple)
sharing: list[st.SearchStrategy[AnyCommand]] = [
    st.builds(LinkIdentity, identity=identities),
    st.builds(UnlinkIdentity, identity=identities),
    st.builds(
        MergeContext,
        identity=identities,
        source=st.just(session_id_for(ConversationId("b" * 26), 1)),
        strategy=st.sampled_from(ConflictStrategy),
        priority=st.sampled_from([(), (Platform.SLACK,), (Platform.TELEGRAM, Platform.SLACK)]),
        operations=st.frozensets(st.sampled_from(SyncOperation)),
        entries=entries,
    ),
    st.builds(
        ResolveConflict,
        fields=st.sampled_from([(), ("/data/a",)]),
        resolution=st.builds(Resolution, take_offered=st.booleans())
        | st.builds(Resolution, strategy=st.sampled_from(sorted(set(ConflictStrategy) - {ConflictStrategy.MANUAL}))),
    ),
]
DIGEST = "0" * 64
endings: list[st.SearchStrategy[AnyCommand]] = [
    st.builds(
        ExpireSession,
        rule_id=st.sampled_from(["rule", "other"]),
        step=st.integers(-1, 2),
        action=st.sampled_from(CleanupAction),
        seen=st.integers(1, 10),
    ),
    st.builds(
        ArchiveSession,
        archive=st.builds(
            ArchiveRef,
            url=st.just("memory://a"),
            digest=st.just(DIGEST),
            sequence=st.integers(1, 10),
            messages=st.just(0),
            at=st.just(NOW),
        ),
    ),
    st.builds(RestoreSession, status=statuses, digest=st.just(DIGEST), data=values),
    st.builds(
        RestoreContent,
        restore=st.just("r"),
        replace=st.booleans(),
        begins=st.booleans(),
        status=st.none() | statuses,
        data=values,
        metadata=values,
    ),
    st.builds(EraseConversation),
]
kinds_of_commands: st.SearchStrategy[AnyCommand] = st.one_of(
    st.builds(CreateSession, keep_live=st.booleans(), data=values, profile=profiles),
    st.builds(AppendMessage, message=outbound),
    st.builds(EditMessage, target=st.just("1"), text=st.text(max_size=8)),
    st.builds(DeleteMessage, target=st.just("1")),
    st.builds(SetData, values=values, remove=removals),
    st.builds(SetMetadata, values=values, remove=removals),
    st.builds(
        UpdateSession,
        data=fields,
        metadata=fields,
        profile=profile_changes,
        status=st.none() | statuses,
        messages=st.lists(outbound, max_size=2).map(tuple),
    ),
    st.builds(ShareSession, user=users, permission=st.none() | st.sampled_from(Permission)),
    st.builds(SetVisibility, visibility=st.sampled_from(Visibility)),
    st.builds(ExtendSession, seconds=st.none() | seconds, until=st.none() | moments),
    st.builds(RefreshSession),
    st.builds(TrimHistory, before=st.integers(1, 20)),
    st.builds(DeleteSession),
    st.builds(ApplyDeadlines),
    st.builds(ResetSession),
    st.builds(CloseSession),
    st.builds(ChangeState, status=statuses),
    st.builds(UnblockSession),
    st.builds(
        AmendCopy,
        source=st.just(session_id_for(ConversationId("b" * 26), 1)),
        target=st.sampled_from("123"),
        text=st.none() | st.just("t"),
    ),
    *sharing,
    *endings,
)
# Most are done by AgentBus itself, for the current session and without a lock: otherwise most would be refused.
sessions = st.sampled_from([None] * 9 + [session_id_for(CONVERSATION, number) for number in (1, 2, 3)])
actors = st.sampled_from([None] * 6 + ["ada", "ada", "bob", "eve"])
fences = st.sampled_from([None] * 9 + [1, 2, 3])
commands: st.SearchStrategy[AnyCommand] = st.builds(
    lambda command, session, actor, fence: command.model_copy(
        update={"session_id": session, "actor": actor, "fence": fence}
    ),
    kinds_of_commands,
    sessions,
    actors,
    fences,
)
payloads: st.SearchStrategy[InboundMessage | AnyCommand] = st.one_of(inbound, commands, commands)
steps = st.lists(payloads, max_size=30) | st.lists(payloads, min_size=15, max_size=30)


def run(payloads: list[InboundMessage | AnyCommand]) -> tuple[SessionState, list[Commit], list[SessionState]]:
    """Apply payloads one by one; return the state, the log, and every head on the way."""
    state, log, heads = SessionState.empty(CONVERSATION), list[Commit](), list[SessionState]()
    for number, data in enumerate(payloads):
        given = Input(InputId(f"i{number}"), data)
        try:
            events = decide(state, given, NOW + timedelta(seconds=number))
        except Refused:
            continue
        if events:
            commit = Commit(
                conversation_id=CONVERSATION, version=state.version + 1, at=NOW, inputs=(given.id,), events=events
            )
            log.append(commit)
            heads += heads_after(state, commit)
            state = heads[-1]
    return state, log, heads


@over(steps)
def test_replaying_the_log_gives_the_head(payloads: list[InboundMessage | AnyCommand]) -> None:
    state, log, _ = run(payloads)
    assert replay(SessionState.empty(CONVERSATION), log) == state
    travelled = [Commit.model_validate_json(commit.model_dump_json()) for commit in log]
    assert replay(SessionState.empty(CONVERSATION), travelled) == state


@over(steps, st.integers(0, 29))
def test_replaying_from_any_head_gives_the_head(payloads: list[InboundMessage | AnyCommand], cut: int) -> None:
    state, log, _ = run(payloads)
    start = replay(SessionState.empty(CONVERSATION), log[:cut])
    assert replay(SessionState.model_validate_json(start.model_dump_json()), log[cut:]) == state


@over(steps)
def test_versions_and_sequences_are_contiguous(payloads: list[InboundMessage | AnyCommand]) -> None:
    _, log, _ = run(payloads)
    assert [commit.version for commit in log] == list(range(1, len(log) + 1))
    sequences: dict[str, list[int]] = {}
    for commit in log:
        for event in commit.events:
            sequences.setdefault(event.session_id, []).append(event.sequence)
    for numbers in sequences.values():
        assert numbers == list(range(1, len(numbers) + 1))


@over(steps, payloads)
def test_applying_an_input_twice_equals_once(
    earlier: list[InboundMessage | AnyCommand], data: InboundMessage | AnyCommand
) -> None:
    state, _, _ = run([*earlier, data])
    last = Input(InputId(f"i{len(earlier)}"), data)
    if last.id in state.recent_inputs:
        assert decide(state, last, NOW + timedelta(hours=1)) == ()


@over(steps)
def test_every_session_but_the_last_has_ended_and_its_head_says_so(
    payloads: list[InboundMessage | AnyCommand],
) -> None:
    state, _, heads = run(payloads)
    latest = {head.session_id: head for head in heads}
    for head in latest.values():
        if head.session_id != state.session_id:
            assert not head.is_live
            assert head.version <= state.version
            assert head.first_version >= 1
    assert [head.generation for head in latest.values()] == list(range(1, len(latest) + 1))


@over(steps)
def test_what_is_not_checked_again_is_as_it_would_be_if_it_were(payloads: list[InboundMessage | AnyCommand]) -> None:
    _, log, heads = run(payloads)
    for one in (*heads, *(event for commit in log for event in commit.events)):
        checked = type(one).model_validate(one.__dict__)
        assert checked == one
        assert checked.model_dump_json() == one.model_dump_json()
        again = type(one).model_validate_json(one.model_dump_json())
        assert again == one
        assert list(one.__dict__) == list(checked.__dict__), "in the order of its fields"


@over(steps)
def test_a_head_that_mongodb_gets_in_parts_is_the_whole_one(payloads: list[InboundMessage | AnyCommand]) -> None:
    encoder = HeadEncoder()
    for head in run(payloads)[2]:
        document = encoder.document(head)
        assert bson.decode(document.raw) == bson.decode(bson.encode(head_document(head)))
        assert next(iter(document)) == "_id"


@over(steps)
def test_heads_survive_the_wire(payloads: list[InboundMessage | AnyCommand]) -> None:
    for head in run(payloads)[2]:
        assert SessionState.model_validate_json(head.model_dump_json()) == head


@over(steps)
def test_whoever_changed_a_session_had_the_right_to(payloads: list[InboundMessage | AnyCommand]) -> None:
    _, log, _ = run(payloads)
    before = SessionState.empty(CONVERSATION)
    for commit in log:
        for actor in {event.actor for event in commit.events if event.actor}:
            first = next(event for event in commit.events if event.actor == actor)
            over = not before.is_live or has_expired(before, commit.at)
            began_there = isinstance(first, SessionStarted) and over
            assert began_there or right_of(before.profile, actor) >= Right.WRITE
        before = replay(before, [commit])


@over(steps, commands)
def test_a_user_without_right_changes_nothing(payloads: list[InboundMessage | AnyCommand], command: AnyCommand) -> None:
    """Nobody ever gives mallory a right; all that is left is to start a session, for mallory, where none is live."""
    state, _, _ = run(payloads)
    given = Input(InputId("mallory"), command.model_copy(update={"actor": "mallory"}))
    now = NOW + timedelta(seconds=len(payloads))
    over = not state.is_live or has_expired(state, now)
    if isinstance(command, CreateSession) and over and command.profile.owner is None:
        (started,) = [event for event in decide(state, given, now) if isinstance(event, SessionStarted)]
        assert started.profile.owner == "mallory"
    else:
        with pytest.raises(AccessDenied):
            decide(state, given, now)


@over(steps)
def test_fences_and_trims_never_go_back_and_the_deleted_keep_nothing(
    payloads: list[InboundMessage | AnyCommand],
) -> None:
    before = SessionState.empty(CONVERSATION)
    for head in run(payloads)[2]:
        assert head.fence >= before.fence
        if head.generation == before.generation:
            assert head.shown_from >= before.shown_from
            assert not (before.status is SessionStatus.DELETED and head.is_live)
        if head.status is SessionStatus.DELETED or head.archive:
            assert (head.data, head.metadata, head.stamps, head.conflicts) == ({}, {}, {}, ())
        assert (head.clock or "") >= (before.clock or "")
        assert head.erased >= before.erased
        assert head.shown_from <= head.sequence + 1
        before = head
