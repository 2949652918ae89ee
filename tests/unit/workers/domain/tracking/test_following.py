"""What a log comes to in figures, hour by hour and session by session."""

from collections import Counter
from datetime import UTC, datetime, timedelta

from agentbus.contracts.commands import AppendMessage, ChangeState, CloseSession
from agentbus.contracts.events import Commit
from agentbus.contracts.ids import InputId
from agentbus.contracts.messages import Attachment, AttachmentKind, OutboundMessage, TextContent
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.contracts.tracking import SessionEnding, Tracked
from agentbus.workers.domain.decide import decide
from agentbus.workers.domain.evolve import heads_after
from agentbus.workers.domain.tracking.counters import added, first_hour_of, hour_of
from agentbus.workers.domain.tracking.following import MOST_DAYS, Followed, follow
from tests.harness.conversations import CONVERSATION, NOW, given, message


class _Chat:
    """A conversation to which things happen, a commit each."""

    def __init__(self) -> None:
        self.state = SessionState.empty(CONVERSATION)
        self.commits: list[Commit] = []

    def asks(self, seconds: float, *, said_at: datetime | None = None, content: TextContent | None = None) -> None:
        at = NOW + timedelta(seconds=seconds)
        self._happens(at, message(len(self.commits), "hello", sent_at=said_at or at, content=content))

    def answers(self, seconds: float) -> None:
        said = OutboundMessage(content=TextContent(text="an answer"))
        self._happens(NOW + timedelta(seconds=seconds), AppendMessage(session_id=self.state.session_id, message=said))

    def closes(self, seconds: float) -> None:
        self._happens(NOW + timedelta(seconds=seconds), CloseSession(session_id=self.state.session_id))

    def moves(self, seconds: float, status: SessionStatus) -> None:
        command = ChangeState(session_id=self.state.session_id, status=status)
        self._happens(NOW + timedelta(seconds=seconds), command)

    def followed(self) -> Followed:
        return follow(Tracked(), self.commits)

    def counts(self) -> Counter[str]:
        return added(
            counts for parts in self.followed().parts.values() for _, hours in parts for counts in hours.values()
        )

    def _happens(self, at: datetime, data: object) -> None:
        one = given(data, f"input-{len(self.commits)}")  # type: ignore[arg-type]  # a message or a command
        events = decide(self.state, one, at)
        version = self.state.version + 1
        commit = Commit(conversation_id=CONVERSATION, version=version, at=at, inputs=(InputId(one.id),), events=events)
        self.commits.append(commit)
        self.state = heads_after(self.state, commit)[-1]


def test_who_waits_for_whom() -> None:
    chat = _Chat()
    chat.asks(0)
    chat.asks(5)
    chat.answers(12)
    chat.answers(15)
    chat.asks(75)
    chat.answers(78)
    chat.asks(80)

    counts = chat.counts()

    assert (counts["asked"], counts["answered"]) == (3, 2)
    assert (counts["reply.ms"], counts["first.ms"], counts["back.ms"]) == (15_000, 12_000, 63_000 + 2_000)
    assert (counts["message.user"], counts["message.assistant"], counts["type.text"]) == (4, 3, 7)
    assert counts["characters.user"] == 4 * len("hello")
    assert (counts["new"], counts["starts"], counts["event.reply"]) == (1, 1, 3)


def test_an_answer_counts_in_the_hour_of_the_question() -> None:
    chat = _Chat()
    chat.asks(0)
    chat.answers(2 * 3600)
    [(_, parts)] = chat.followed().parts.items()
    hours: Counter[str] = Counter()
    for _, part in parts:
        hours.update({str(hour): counts["answered"] for hour, counts in part.items()})
    assert hours[str(hour_of(NOW))] == 1


def test_messages_count_when_they_were_sent_and_what_is_decided_when_it_was() -> None:
    chat = _Chat()
    long_ago = datetime(2003, 5, 6, 7, 8, tzinfo=UTC)
    chat.asks(0, said_at=long_ago)
    assert set(chat.followed().parts) == {long_ago.toordinal(), NOW.toordinal()}
    usage = chat.followed().tracked.usage
    assert usage is not None
    assert usage.last_at == long_ago


def test_five_words_in_a_minute_each_are_a_burst_and_a_pause_ends_it() -> None:
    chat = _Chat()
    for number in range(7):
        chat.asks(number * 50)
    chat.asks(3 * 3600)
    counts = chat.counts()
    assert counts["bursts"] == 1
    assert counts["return.2"] == 1


def test_how_a_session_ends_is_counted_once() -> None:
    chat = _Chat()
    chat.asks(0)
    chat.moves(60, SessionStatus.SUSPENDED)
    chat.moves(90, SessionStatus.EXPIRED)
    chat.moves(95, SessionStatus.ARCHIVED)
    counts = chat.counts()
    assert (counts["end.expired"], counts["end.archived"], counts["lasted.ms"]) == (1, 0, 90_000)
    assert [counts[f"state.{status}"] for status in ("suspended", "expired", "archived")] == [1, 1, 1]
    [usage] = chat.followed().ledger.values()
    assert (usage.ending, usage.ended_at) == (SessionEnding.EXPIRED, NOW + timedelta(seconds=90))


def test_each_session_has_its_own_entry_and_waits_end_with_it() -> None:
    chat = _Chat()
    chat.asks(0)
    chat.closes(10)
    chat.asks(20)
    chat.answers(30)
    first, second = chat.followed().ledger.values()
    assert (first.ending, first.counts["asked"], first.counts.get("answered")) == (SessionEnding.CLOSED, 1, None)
    assert (second.ending, second.counts["reply.ms"], second.owner) == (None, 10_000, "ada")


def test_attachments_are_what_a_message_is() -> None:
    chat = _Chat()
    image = Attachment(kind=AttachmentKind.IMAGE, uri="https://example.org/1.png")
    chat.asks(0, content=TextContent(attachments=(image,)))
    chat.asks(1, content=TextContent(text="look", attachments=(image, image)))
    assert {name: count for name, count in chat.counts().items() if name.startswith("type.")} == {
        "type.image": 3,
        "type.text": 1,
    }


def test_what_senders_say_of_the_time_makes_no_more_days_than_there_may_be() -> None:
    chat = _Chat()
    chat.asks(0)
    full = chat.followed().tracked.model_copy(update={"days": tuple(range(MOST_DAYS))})
    chat.asks(10, said_at=datetime(1999, 1, 1, tzinfo=UTC))
    followed = follow(full, chat.commits[1:])
    assert followed.tracked.days == full.days
    [(day, [(_, hours)])] = followed.parts.items()
    assert day == MOST_DAYS - 1
    assert set(hours) == {first_hour_of(day)}


def test_a_gap_in_the_log_is_noticed() -> None:
    chat = _Chat()
    for number in range(3):
        chat.asks(number)
    assert chat.followed().tracked.whole
    assert not follow(Tracked(), [chat.commits[0], chat.commits[2]]).tracked.whole
    assert not follow(Tracked(), chat.commits[1:]).tracked.whole
