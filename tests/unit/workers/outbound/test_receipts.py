"""What a platform tells of our messages, as commands."""

from datetime import UTC, datetime

import pytest

from agentbus.contracts.commands import ReportReply
from agentbus.contracts.replies import ReplyId, ReplyOutcome, piece_key
from agentbus.workers.adapters.port import Receipt, ReceiptState
from agentbus.workers.outbound.receipts import report_of
from tests.harness.conversations import address

NOW = datetime(2026, 1, 1, tzinfo=UTC)
REPLY = ReplyId(f"{'a' * 26}.1/3")


def a_receipt(state: ReceiptState, key: str | None = None, reason: str | None = None) -> Receipt:
    return Receipt(address=address(), message_id="wamid.1", state=state, at=NOW, reason=reason, key=key)


@pytest.mark.parametrize(
    ("state", "outcome"),
    [
        (ReceiptState.SENT, ReplyOutcome.SENT),
        (ReceiptState.DELIVERED, ReplyOutcome.DELIVERED),
        (ReceiptState.READ, ReplyOutcome.READ),
        (ReceiptState.FAILED, ReplyOutcome.FAILED),
    ],
)
def test_the_last_message_of_a_reply_tells_of_the_reply(state: ReceiptState, outcome: ReplyOutcome) -> None:
    given = report_of(a_receipt(state, piece_key(REPLY, 2, 2), "because"))
    assert given is not None
    assert given.data == ReportReply(
        address=address(), reply=REPLY, outcome=outcome, message_ids=("wamid.1",), reason="because", told_at=NOW
    )
    again = report_of(a_receipt(state, piece_key(REPLY, 2, 2), "in other words"))
    assert again is not None
    assert again.id == given.id


def test_a_message_without_our_key_is_known_by_its_id() -> None:
    given = report_of(a_receipt(ReceiptState.READ))
    assert given is not None
    assert isinstance(given.data, ReportReply)
    assert (given.data.reply, given.data.message_ids) == (None, ("wamid.1",))


@pytest.mark.parametrize(
    ("state", "key"),
    [(ReceiptState.SENT, None), (ReceiptState.READ, piece_key(REPLY, 1, 2)), (ReceiptState.READ, "somebody else's")],
)
def test_what_says_nothing_new_is_not_told(state: ReceiptState, key: str | None) -> None:
    assert report_of(a_receipt(state, key)) is None
