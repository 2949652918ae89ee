"""The reckoning notices each thing that may not be: it is what `make channels` goes by."""

from dataclasses import replace

import pytest

from agentbus.contracts.replies import ReplyId
from tests.channels.crowd import Letter
from tests.channels.reckoning import FAULTS, Conversation, Reckoning, Reply, reckon
from tests.platforms.model import Said
from tests.platforms.slack import FakeSlack


class Chat:
    """Two people who wrote three messages each on Slack, one after the other, and were answered."""

    def __init__(self) -> None:
        self.slack = FakeSlack()
        self.letters = [
            Letter(
                self.slack, Said(user, number, f"slack {user} {number}"), begun=2.0 * number, accepted=2.0 * number + 1
            )
            for user in (1, 2)
            for number in (1, 2, 3)
        ]
        self.conversations = [Conversation(), Conversation()]
        self.in_doubt: set[ReplyId] = set()
        for letter in self.letters:
            one = self.conversations[letter.said.user - 1]
            one.said.append(letter.said.text)
            answer = f"re: {letter.said.text}"
            one.replies[reply_id(letter.said)] = Reply(answer, "sent")
            self.slack.take(f"D{letter.said.user}", answer, "")

    def reckoned(self) -> Reckoning:
        return reckon(self.letters, self.conversations, self.in_doubt)

    def wrong(self) -> dict[str, int]:
        """Return what may not be, and is."""
        total = self.reckoned().total
        return {fault: total[fault] for fault in FAULTS if total[fault]}

    def reply(self, number: int = 1) -> Reply:
        return self.conversations[0].replies[reply_id(Said(1, number, ""))]


def reply_id(said: Said) -> ReplyId:
    return ReplyId(f"{said.user}/{said.number}")


@pytest.fixture
def chat() -> Chat:
    return Chat()


def test_where_all_is_well_nothing_is_noticed(chat: Chat) -> None:
    assert chat.wrong() == {}
    assert (chat.reckoned().total["written"], chat.reckoned().total["replies"], chat.reckoned().waiting) == (6, 6, 0)


def test_a_message_that_is_in_no_session_is_lost(chat: Chat) -> None:
    chat.conversations[0].said.remove("slack 1 2")
    assert chat.wrong() == {"lost": 1}


def test_a_message_that_is_there_twice_is_doubled(chat: Chat) -> None:
    chat.conversations[0].said.append("slack 1 3")
    assert chat.wrong() == {"duplicated": 1}


def test_a_message_behind_one_that_was_written_after_it_came_is_reordered(chat: Chat) -> None:
    said = chat.conversations[0].said
    said[0], said[1] = said[1], said[0]
    assert chat.wrong() == {"reordered": 1}


def test_a_message_beside_those_of_somebody_else_is_mixed(chat: Chat) -> None:
    chat.conversations[0].said.append(chat.conversations[1].said.pop())
    assert chat.wrong() == {"mixed": 1}


def test_of_two_that_were_written_at_a_time_either_may_come_first(chat: Chat) -> None:
    said = chat.conversations[0].said
    said[0], said[1] = said[1], said[0]
    chat.letters[0].accepted = chat.letters[1].begun
    assert chat.wrong() == {}


@pytest.mark.parametrize("ended", ["sent", "failed", "unknown"])
def test_a_reply_that_is_not_at_the_platform_is_lost_whatever_was_told_of_it(chat: Chat, ended: str) -> None:
    chat.reply().ended = ended
    del chat.slack.taken[0]
    assert chat.wrong() == {"replies_lost": 1}


def test_a_reply_of_which_nobody_knows_is_listed(chat: Chat) -> None:
    chat.reply().ended = "unknown"
    chat.in_doubt.add(reply_id(Said(1, 1, "")))
    assert chat.wrong() == {}
    assert chat.reckoned().total["unknown"] == 1


def test_a_reply_that_is_there_twice_is_marked(chat: Chat) -> None:
    chat.slack.taken.append(chat.slack.taken[0])
    assert chat.wrong() == {"replies_doubled_unmarked": 1}
    chat.reply().maybe_doubled = True
    assert chat.wrong() == {}
    assert chat.reckoned().total["doubled"] == 1


def test_replies_in_another_order_than_they_were_asked_for_are_reordered(chat: Chat) -> None:
    first, second = chat.slack.taken[:2]
    chat.slack.taken[:2] = [replace(second, message_id=first.message_id), replace(first, message_id=second.message_id)]
    assert chat.wrong() == {"replies_reordered": 1}


def test_a_reply_in_the_chat_of_somebody_else_is_misdirected(chat: Chat) -> None:
    chat.slack.taken[-1] = replace(chat.slack.taken[-1], chat="D1")
    assert chat.wrong() == {"misdirected": 1}


def test_what_waits_or_was_not_asked_for_is_too_early_to_tell(chat: Chat) -> None:
    chat.reply().ended = "waiting"
    del chat.conversations[0].replies[reply_id(Said(1, 2, ""))]
    assert (chat.wrong(), chat.reckoned().waiting) == ({}, 2)
