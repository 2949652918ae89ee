"""When a message begins a new session: where a policy says so, at the right moment, and it is never lost."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agentbus.client import AgentBus
from agentbus.composition.running import embedded
from agentbus.contracts.address import Platform, conversation_id_for
from agentbus.contracts.commands import AppendMessage, ChangeState, CreateSession, ResetSession, SetData
from agentbus.contracts.errors import FutureTimestamp
from agentbus.contracts.events import CloseReason, Commit, MessageAppended, SessionClosed, SessionStarted, StartReason
from agentbus.contracts.expiry import ResetPolicy
from agentbus.contracts.ids import generation_of
from agentbus.contracts.messages import (
    ButtonContent,
    CommandContent,
    Content,
    DeleteContent,
    EditContent,
    InboundMessage,
    Membership,
    MembershipContent,
    ReactionContent,
    TextContent,
    UnsupportedContent,
)
from agentbus.contracts.profile import Permission, Profile, SessionType
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.settings import load_settings
from agentbus.storage.reading import iter_log
from agentbus.workers.domain.decide import decide
from agentbus.workers.domain.evolve import heads_after
from agentbus.workers.domain.resets import resets_now
from tests.harness.conversations import NOW, address, message
from tests.unit.workers.domain.test_decide import EMPTY, after, fresh, kinds, said

MS = timedelta(milliseconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
LIVE = after(EMPTY, message(1, "first"))
IDLE = ResetPolicy(idle_minutes=60)
WORDS = ResetPolicy(words=("/new", "/Reset", "start over"))


def daily(hour: int, zone: str = "UTC") -> ResetPolicy:
    return ResetPolicy(daily_hour=hour, time_zone=zone)


def began(at: datetime) -> SessionState:
    """Return a live session that began at `at`."""
    return after(EMPTY, message(1, "first", sent_at=at), now=at)


def heads_left(
    state: SessionState, one: InboundMessage, at: datetime, *policies: ResetPolicy
) -> tuple[SessionState, ...]:
    """Return the heads that a message leaves."""
    given = fresh(one)
    events = decide(state, given, at, policies)
    commit = Commit(
        conversation_id=state.conversation_id, version=state.version + 1, at=at, inputs=(given.id,), events=events
    )
    return heads_after(state, commit)


def reset_of(
    policies: Sequence[ResetPolicy], state: SessionState, at: datetime, *, came: datetime | None = None, **of: Any
) -> str | None:
    """Return why a message that was sent `at` (and came then, unless said otherwise) resets."""
    return resets_now(policies, state, message(2, sent_at=at, **of), came or at)


@pytest.mark.parametrize("policies", [(), (ResetPolicy(),), (ResetPolicy(time_zone="Asia/Tokyo"), IDLE)])
def test_nothing_resets_unless_it_is_set(policies: Sequence[ResetPolicy]) -> None:
    """Above all no four o'clock in the morning that nobody asked for."""
    for later in (HOUR * 16, DAY, DAY * 365):
        for text in ("hello", "/new", "/reset"):
            assert reset_of(policies, LIVE, NOW + later, text=text) is None
    assert kinds(decide(LIVE, fresh(message(2, "/new", sent_at=NOW + DAY)), NOW + DAY)) == ["message_appended"]


def test_idle_minutes_since_the_last_activity() -> None:
    assert reset_of([IDLE], LIVE, NOW + HOUR - MS) is None
    assert reset_of([IDLE], LIVE, NOW + HOUR) == "idle"
    answered = after(LIVE, AppendMessage(message=said()), now=NOW + 30 * MINUTE)
    assert reset_of([IDLE], answered, NOW + HOUR) is None
    assert reset_of([IDLE], answered, NOW + 90 * MINUTE) == "idle"
    assert reset_of([ResetPolicy(idle_minutes=0.5)], LIVE, NOW + MINUTE / 2) == "idle"


def test_a_message_that_waited_in_a_queue_was_not_idle() -> None:
    came = NOW + 3 * HOUR
    assert reset_of([IDLE], LIVE, NOW + 5 * MINUTE, came=came) is None
    assert reset_of([IDLE], LIVE, NOW + 61 * MINUTE, came=came) == "idle"


def test_a_clock_that_is_ahead_is_believed_no_more_than_ours() -> None:
    assert reset_of([IDLE], LIVE, NOW + HOUR, came=NOW + 58 * MINUTE) is None
    four = datetime(2026, 3, 2, 4, tzinfo=UTC)
    assert reset_of([daily(4)], LIVE, four, came=four - MINUTE) is None
    with pytest.raises(FutureTimestamp):
        decide(LIVE, fresh(message(2, "/new", sent_at=NOW + HOUR)), NOW, [WORDS])


def test_a_late_message_is_judged_by_when_it_was_sent() -> None:
    """It goes into the session in which it was written, and the next one still finds the hour passed."""
    four = datetime(2026, 3, 2, 4, tzinfo=UTC)
    late = message(2, "good night", sent_at=four - MINUTE)
    assert kinds(decide(LIVE, fresh(late), four + HOUR, [daily(4)])) == ["message_appended"]
    state = after(LIVE, late, now=four + HOUR)
    assert reset_of([daily(4)], state, four + MINUTE, came=four + HOUR + MINUTE) == "daily"


def test_a_message_later_than_the_reset_goes_into_the_new_session() -> None:
    """What was sent before the hour and comes after another message has reset: nothing is dropped, nothing reset."""
    four = datetime(2026, 3, 2, 4, tzinfo=UTC)
    _, state = heads_left(LIVE, message(2, sent_at=four + MINUTE), four + MINUTE, daily(4))
    late = message(3, "good night", sent_at=four - MINUTE)
    assert kinds(decide(state, fresh(late), four + HOUR, [daily(4), IDLE])) == ["message_appended"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (TextContent(text="/new"), "word"),
        (TextContent(text="/NEW"), "word"),
        (TextContent(text=" /reset\n"), "word"),
        (TextContent(text="Start Over"), "word"),
        (TextContent(text="/new hello"), None),
        (TextContent(text="what does /new do?"), None),
        (TextContent(text="/newer"), None),
        (TextContent(text="new"), None),
        (TextContent(text=""), None),
        (CommandContent(name="new"), "word"),
        (CommandContent(name="New", arguments="hello"), "word"),
        (CommandContent(name="/reset", arguments="now"), "word"),
        (CommandContent(name="newer"), None),
        (CommandContent(name="start", arguments="over"), None),
        (ButtonContent(data="/new", label="/new"), None),
        (UnsupportedContent(what="/new", raw="/new"), None),
    ],
)
def test_words_that_reset(content: Content, reason: str | None) -> None:
    assert reset_of([WORDS], LIVE, NOW, content=content) == reason


@pytest.mark.parametrize(
    "content",
    [
        EditContent(target="1", text="/new"),
        DeleteContent(target="1"),
        ReactionContent(target="1", reaction="👍"),
        MembershipContent(change=Membership.JOINED),
    ],
)
def test_only_what_is_said_resets(content: Content) -> None:
    policy = ResetPolicy(idle_minutes=1, daily_hour=4, words=("/new",))
    assert reset_of([policy], LIVE, NOW + DAY, content=content) is None


@pytest.mark.parametrize("content", [ButtonContent(data="yes"), UnsupportedContent(what="poll", raw="{}")])
def test_pressing_a_button_or_sending_what_is_not_understood_says_something(content: Content) -> None:
    assert reset_of([IDLE], LIVE, NOW + DAY, content=content) == "idle"


def test_by_platform_and_session_type_the_first_that_matches_decides_alone() -> None:
    groups = LIVE.model_copy(update={"profile": Profile(session_type=SessionType.GROUP)})
    at = NOW + HOUR
    slack = ResetPolicy(platforms=(Platform.SLACK,), words=("hello",))
    in_groups = ResetPolicy(session_types=(SessionType.GROUP, SessionType.THREAD), daily_hour=4)
    telegram = ResetPolicy(platforms=(Platform.WEB, Platform.TELEGRAM), idle_minutes=60)
    assert reset_of([slack], LIVE, at) is None
    assert reset_of([slack, in_groups, telegram], LIVE, at) == "idle"
    assert reset_of([slack, in_groups, telegram], groups, at) is None
    assert reset_of([slack, telegram, in_groups], groups, at) == "idle"
    assert reset_of([ResetPolicy(platforms=(Platform.TELEGRAM,)), IDLE], LIVE, at) is None


def test_the_platform_is_that_of_the_message() -> None:
    moved = message(2, sent_at=NOW + HOUR).model_copy(update={"address": address(platform=Platform.SLACK)})
    assert resets_now([ResetPolicy(platforms=(Platform.SLACK,), idle_minutes=60)], LIVE, moved, NOW + HOUR) == "idle"


def test_a_suspended_session_is_not_reset_by_a_chat() -> None:
    suspended = after(LIVE, ChangeState(status=SessionStatus.SUSPENDED))
    policy = ResetPolicy(idle_minutes=1, daily_hour=4, words=("/new",))
    assert reset_of([policy], suspended, NOW + DAY, text="/new") is None
    idle = after(LIVE, ChangeState(status=SessionStatus.IDLE))
    assert reset_of([policy], idle, NOW + DAY, text="/new") == "word"


@pytest.mark.parametrize(
    ("policy", "text", "later", "reason"),
    [
        (WORDS, "/new", MINUTE, "word"),
        (IDLE, "hello again", HOUR, "idle"),
        (daily(4), "good morning", 20 * HOUR, "daily"),
    ],
    ids=["word", "idle", "daily"],
)
def test_the_message_that_resets_is_the_new_sessions_first(
    policy: ResetPolicy, text: str, later: timedelta, reason: str
) -> None:
    one = message(2, text, sent_at=NOW + later)
    closed, started, appended = decide(LIVE, fresh(one), NOW + later, [policy])
    assert isinstance(closed, SessionClosed)
    assert (closed.session_id, closed.why, closed.reason) == (LIVE.session_id, CloseReason.RESET, reason)
    assert isinstance(started, SessionStarted)
    assert (started.reason, started.previous, started.sequence) == (StartReason.RESET, LIVE.session_id, 1)
    assert started.address == one.address
    assert isinstance(appended, MessageAppended)
    assert (appended.session_id, appended.sequence) == (started.session_id, 2)
    assert (appended.message.message_id, appended.message.content) == ("2", one.content)


def test_a_reset_by_message_leaves_what_a_reset_by_command_leaves() -> None:
    profile = Profile(owner="ada", shares={"bob": Permission.WRITE}, tags=("paid",), lifetime=60, idle_timeout=30)
    state = after(EMPTY, CreateSession(address=address(), profile=profile, data={"a": 1}))
    at = NOW + MINUTE / 2
    by_command = after(state, ResetSession(), now=at)
    old, new = heads_left(state, message(2, "/new", user="bob", sent_at=at), at, WORDS)
    kept = {"profile", "data", "metadata", "generation", "status", "created_at"}
    assert new.model_dump(include=kept) == by_command.model_dump(include=kept)
    assert (new.profile.expires_at, new.message_count, new.address) == (at + MINUTE, 1, address(user="bob"))
    assert (old.session_id, old.status, old.data) == (state.session_id, SessionStatus.CLOSED, {"a": 1})


def test_a_session_whose_time_ran_out_is_expired_and_not_reset() -> None:
    over = after(EMPTY, CreateSession(address=address(), profile=Profile(owner="ada", expires_at=NOW + MINUTE)))
    late = fresh(message(2, "/new", sent_at=NOW + HOUR))
    events = decide(over, late, NOW + HOUR, [WORDS])
    assert kinds(events) == ["state_changed", "session_started", "message_appended"]


def test_the_message_that_reset_comes_again_and_resets_nothing() -> None:
    given = fresh(message(2, "/new"))
    applied = LIVE.model_copy(update={"recent_inputs": (*LIVE.recent_inputs, given.id)})
    assert decide(applied, given, NOW + DAY, [WORDS]) == ()


async def test_a_worker_goes_by_the_policies_that_are_set() -> None:
    """From the setting to the session: the word resets, what stood in the queue before it stays before it."""
    settings = load_settings(
        amqp_url="memory://", store_url="memory://", reset_policies='[{"words": ["/new"], "platforms": ["telegram"]}]'
    )
    texts = ["one", "two", "/new", "three"]
    said_now = [message(number, text, sent_at=datetime.now(UTC)) for number, text in enumerate(texts)]
    async with embedded(settings) as running:
        client = AgentBus(running.bus)
        await client.publish_many(said_now)
        await client.send(SetData(address=address(), values={"seen": True}))
        conversation = conversation_id_for(address(), settings.session.scope)
        commits = [commit async for commit in iter_log(running.store, conversation)]
    appended = [event for commit in commits for event in commit.events if isinstance(event, MessageAppended)]
    found = [(generation_of(event.session_id), event.message.content) for event in appended]
    assert found == [(1 if text in {"one", "two"} else 2, TextContent(text=text)) for text in texts]
