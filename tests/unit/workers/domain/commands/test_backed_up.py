"""What a restore causes: commits as they were, in their place alone; messages and fields once, or in place of all."""

from datetime import timedelta

import pytest

from agentbus.contracts.commands import (
    AnyCommand,
    ArchiveSession,
    CreateSession,
    DeleteSession,
    EraseConversation,
    ResetSession,
    RestoreCommit,
    RestoreContent,
    SetData,
)
from agentbus.contracts.errors import EditConflict, LimitExceeded, SessionNotFound, TransitionForbidden
from agentbus.contracts.events import (
    Commit,
    HistoryTrimmed,
    MessageAppended,
    ProfileChanged,
    SessionRestored,
)
from agentbus.contracts.expiry import ArchiveRef
from agentbus.contracts.ids import InputId, session_id_for
from agentbus.contracts.messages import InboundMessage
from agentbus.contracts.profile import Profile
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.workers.domain.decide import decide
from agentbus.workers.domain.evolve import heads_after
from tests.harness.conversations import CONVERSATION, NOW, given, message
from tests.harness.linked import after, conversation, events_of, linked, stamp, step

LATER = NOW + timedelta(hours=1)
EMPTY = SessionState.empty(CONVERSATION)
LIVE = linked("web", {"city": "Oslo", "name": "Ann"})


def log_of(*inputs: InboundMessage | AnyCommand) -> list[Commit]:
    """Return the log that inputs leave, one commit each."""
    state, commits = EMPTY, list[Commit]()
    for number, data in enumerate(inputs, start=1):
        one = given(data, None if isinstance(data, InboundMessage) else f"in-{number}")
        events = decide(state, one, NOW)
        commit = Commit(conversation_id=CONVERSATION, version=number, at=NOW, inputs=(one.id,), events=events)
        commits.append(commit)
        state = heads_after(state, commit)[-1]
    return commits


LOG = log_of(message(1, "one"), message(2, "two"), ResetSession(), message(3, "three"))


def replayed(commits: list[Commit]) -> SessionState:
    state = EMPTY
    for commit in commits:
        state = heads_after(state, commit)[-1]
    return state


def restoring(number: int, **changes: object) -> RestoreCommit:
    """Return the command that brings back a commit of the log."""
    before = [commit.inputs[-1] for commit in LOG[: number - 1]]
    return RestoreCommit(restore="r", commit=LOG[number - 1], after=before[-1] if before else None).model_copy(
        update=changes
    )


def test_commits_come_back_event_for_event() -> None:
    state = EMPTY
    for number, commit in enumerate(LOG, start=1):
        events = events_of(state, restoring(number))
        assert events == commit.events
        state = heads_after(state, commit)[-1]
    assert state.session_id == session_id_for(CONVERSATION, 2)


def test_a_commit_that_is_there_changes_nothing() -> None:
    for number in range(1, len(LOG) + 1):
        assert events_of(replayed(LOG), restoring(number)) == ()


@pytest.mark.parametrize(
    ("done", "number", "changes"),
    [
        (0, 2, {}),
        (2, 4, {}),
        (2, 3, {"after": InputId("another")}),
        (2, 3, {"after": None}),
        (0, 1, {"commit": LOG[0].model_copy(update={"conversation_id": conversation("web")})}),
    ],
)
def test_a_commit_that_does_not_follow_is_refused(done: int, number: int, changes: dict[str, object]) -> None:
    with pytest.raises(EditConflict):
        events_of(replayed(LOG[:done]), restoring(number, **changes))


def test_what_was_erased_meanwhile_does_not_come_back() -> None:
    state = replayed(LOG[:2])
    (erased,) = events_of(state, EraseConversation())
    commit = Commit(conversation_id=CONVERSATION, version=3, at=NOW, inputs=(InputId("e"),), events=(erased,))
    gone = heads_after(state, commit)[-1]
    following = LOG[2].model_copy(update={"version": 4})
    with pytest.raises(EditConflict):
        events_of(gone, RestoreCommit(restore="r", commit=following, after=gone.recent_inputs[-1]))


def test_the_end_of_a_session_that_has_passed_adds_nothing_to_its_commits() -> None:
    commits = log_of(CreateSession(profile=Profile(expires_at=NOW + timedelta(minutes=1))), message(1, "one"))
    state = replayed(commits[:1])
    command = RestoreCommit(restore="r", commit=commits[1], after=commits[0].inputs[-1])
    assert events_of(state, command, LATER) == commits[1].events


# Content

SAID = tuple(
    MessageAppended(
        session_id=LIVE.session_id,
        sequence=number,
        at=NOW,
        cause=InputId(f"c{number}"),
        actor="ada",
        message=event.message,
    )
    for number, commit in enumerate(LOG, start=1)
    for event in commit.events
    if isinstance(event, MessageAppended)
)


def content(**fields: object) -> RestoreContent:
    return RestoreContent.model_validate({"restore": "r", **fields})


def test_messages_come_back_as_they_are_and_are_no_activity() -> None:
    events = events_of(LIVE, content(messages=SAID), LATER)
    assert [event.message for event in events if isinstance(event, MessageAppended)] == [one.message for one in SAID]
    assert all(isinstance(event, MessageAppended) and event.restored and event.actor == "ada" for event in events)
    now = after(LIVE, events)
    assert now.last_activity == LIVE.last_activity
    assert now.message_count == LIVE.message_count + len(SAID)


def test_merged_fields_are_the_later_ones_of_both() -> None:
    state = step(LIVE, SetData(values={"city": "Rome"}), NOW + timedelta(seconds=9))
    offered = {"/data/city": stamp(5), "/data/name": stamp(99), "/data/pet": stamp(1)}
    command = content(status="active", data={"city": "Bergen", "name": "Anna", "pet": "cat"}, stamps=offered)
    (restored,) = events_of(state, command, LATER)
    assert isinstance(restored, SessionRestored)
    assert restored.data == {"city": "Rome", "name": "Anna", "pet": "cat"}
    assert after(state, [restored]).data == restored.data


def test_replacing_hides_what_was_said_and_takes_all_fields() -> None:
    state = step(LIVE, message(9, "later"))
    profile = Profile(owner="ada", tags=("old",))
    command = content(replace=True, begins=True, messages=SAID, status="active", data={"a": 1}, profile=profile)
    trimmed, *said, restored, changed = events_of(state, command, LATER)
    assert isinstance(trimmed, HistoryTrimmed)
    assert trimmed.before == state.sequence + 1
    assert len(said) == len(SAID)
    assert isinstance(restored, SessionRestored)
    assert isinstance(changed, ProfileChanged)
    now = after(state, (trimmed, *said, restored, changed))
    assert (now.data, now.metadata, now.profile) == ({"a": 1}, {}, profile)


def test_only_the_first_part_of_a_replacement_hides_anything() -> None:
    events = events_of(LIVE, content(replace=True, messages=SAID))
    assert not any(isinstance(event, HistoryTrimmed) for event in events)


def test_a_deleted_session_comes_back_with_what_it_had() -> None:
    gone = step(LIVE, DeleteSession())
    command = content(session_id=gone.session_id, status="active", data=LIVE.data, stamps=LIVE.stamps)
    back = step(gone, command, LATER)
    assert (back.status, back.data, back.stamps) == (SessionStatus.ACTIVE, LIVE.data, LIVE.stamps)
    assert back.last_activity == LATER


def test_a_session_whose_end_has_passed_comes_back_without_it() -> None:
    profile = Profile(expires_at=NOW + timedelta(minutes=1))
    back = step(LIVE, content(status="active", profile=profile), LATER)
    assert back.profile.expires_at is None
    assert back.is_live


def test_an_erased_or_archived_session_does_not_come_back() -> None:
    erased = step(LIVE, EraseConversation())
    with pytest.raises(SessionNotFound):
        events_of(erased, content(session_id=LIVE.session_id, status="active"))
    closed = step(LIVE, content(status="closed"))
    ref = ArchiveRef(url="memory://a", digest="a" * 64, sequence=closed.sequence, messages=0, at=NOW)
    archived = step(closed, ArchiveSession(session_id=closed.session_id, archive=ref))
    with pytest.raises(TransitionForbidden):
        events_of(archived, content(session_id=LIVE.session_id, status="active"))


@pytest.mark.parametrize("status", [SessionStatus.ARCHIVED, SessionStatus.DELETED])
def test_nothing_comes_back_as_gone(status: SessionStatus) -> None:
    with pytest.raises(TransitionForbidden):
        events_of(LIVE, content(status=status))


def test_an_earlier_session_gets_no_messages_and_no_life() -> None:
    second = step(LIVE, ResetSession())
    first = LIVE.model_copy(update={"status": SessionStatus.DELETED})
    earlier = {LIVE.session_id: first}
    back = content(session_id=LIVE.session_id, status="expired", data={"a": 1})
    (restored,) = decide(second, given(back, "1"), LATER, earlier=earlier)
    assert isinstance(restored, SessionRestored)
    assert restored.restored == LIVE.session_id
    for wrong in (
        back.model_copy(update={"status": SessionStatus.ACTIVE}),
        back.model_copy(update={"messages": SAID}),
    ):
        with pytest.raises(TransitionForbidden):
            decide(second, given(wrong, "1"), LATER, earlier=earlier)


@pytest.mark.parametrize("replace", [False, True])
def test_more_than_a_session_may_hold_is_refused(replace: bool) -> None:
    with pytest.raises(LimitExceeded):
        events_of(LIVE, content(replace=replace, status="active", data={"a": "x" * 1_100_000}))
