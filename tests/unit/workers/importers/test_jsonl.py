"""JSON lines."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agentbus.contracts.messages import EditContent, TextContent
from agentbus.workers.importers import HistoryFormat, read_history

SAMPLE = Path(__file__).parents[3] / "samples" / "histories" / "jsonl" / "messages.jsonl"
GOOD = SAMPLE.read_text().splitlines()[0]


def test_messages_and_envelopes() -> None:
    history = read_history(SAMPLE)
    message, edit = history
    assert (message.message_id, message.address.account, message.content) == ("m1", "shop", TextContent(text="Hello"))
    assert (edit.message_id, edit.content) == ("m2", EditContent(target="m1", text="Hello!"))
    assert edit.sent_at == datetime(2024, 3, 9, 9, 0, 1, tzinfo=UTC)
    assert (history.reading.notices, history.reading.lines_blank) == (1, 1)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"{", "not JSON in UTF-8"),
        (b"\xff", "not JSON in UTF-8"),
        (b"[" * 100_000, "not JSON in UTF-8"),
        (b"5", "neither an inbound message nor an input envelope"),
        (b"{}", "address: Field required"),
        (b'{"specversion": "1.0", "type": "other"}', "type is 'other'"),
        (GOOD.encode().replace(b"10:00:00Z", b"10:00:00"), "sent_at: Input should have timezone info"),
        (GOOD.encode().replace(b"Hello", b"\\ud83d"), "Invalid JSON"),
        (GOOD.encode().replace(b"Hello", b"x" * 262_145), r"content\.text\.text: String should have at most"),
    ],
)
def test_a_bad_line_is_told_and_passed_over(tmp_path: Path, line: bytes, problem: str) -> None:
    path = tmp_path / "messages.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.encode() + b"\r\n\r\n" + line + b"\n" + GOOD.encode())
    history = read_history(path, HistoryFormat.JSONL)
    assert len(list(history)) == 2
    (missed,) = history.reading.not_understood
    assert missed.where == "line 3"
    assert re.match(problem, missed.problem)
