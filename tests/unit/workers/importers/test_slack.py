"""Slack exports."""

import json
import re
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agentbus.contracts.messages import Attachment, AttachmentKind, InboundMessage, ReactionContent, TextContent
from agentbus.workers.importers import History, HistoryFormat, HistoryUnreadable, detect_format, read_history
from agentbus.workers.importers.port import NOT_EXPORTED

SAMPLE = Path(__file__).parents[3] / "samples" / "histories" / "slack"

Day = Callable[..., Path]


def zipped(target: Path, top: str = "") -> Path:
    """Zip the sample."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(SAMPLE.rglob("*.json")):
            archive.write(file, top + file.relative_to(SAMPLE).as_posix())
    return target


@pytest.fixture
def day(tmp_path: Path) -> Day:
    """Write an export of one channel's day."""

    def write(content: Any, **lists: Any) -> Path:
        (tmp_path / "general").mkdir()
        (tmp_path / "general" / "2024-03-09.json").write_text(json.dumps(content))
        for name, entries in {"users": [], **lists}.items():
            (tmp_path / f"{name}.json").write_text(json.dumps(entries))
        return tmp_path

    return write


@pytest.fixture
def sample() -> list[InboundMessage]:
    return list(read_history(SAMPLE))


def text(message: InboundMessage) -> TextContent:
    assert isinstance(message.content, TextContent)
    return message.content


@pytest.mark.parametrize("top", ["", "my export/"])
def test_a_zip_is_read_as_the_folder_is(tmp_path: Path, top: str, sample: list[InboundMessage]) -> None:
    path = zipped(tmp_path / "export.zip", top)
    history = read_history(path)
    assert history.format is HistoryFormat.SLACK
    assert list(history) == sample
    assert history.reading.notices == 1


def test_channel_by_channel_in_order_of_time(sample: list[InboundMessage]) -> None:
    assert [(m.address.chat, m.address.user, m.sender_name, m.message_id) for m in sample] == [
        ("D7", "U2", "Bo", "1709888400.000000"),
        ("C1", "U1", "Ann Gray", "1709974800.000100"),
        ("C1", "U2", "Bo", "1709974800.000100:reaction:U2:seedling"),
        ("C1", "U3", None, "1709974800.000100:reaction:U3:seedling"),
        ("C1", "U2", "Bo", "1709974802.000300"),
        ("C1", "B1", "rain bot", "1709974803.000400"),
        ("C1", "U1", "Ann Gray", "1709974804.000500"),
        ("C1", "U3", "cy", "1710028800.000000"),
    ]
    assert sample[4].sent_at == datetime(2024, 3, 9, 9, 0, 2, tzinfo=UTC)


def test_a_reply_is_in_its_thread_and_what_started_it_is_not(sample: list[InboundMessage]) -> None:
    assert [m.address.thread for m in sample] == [None, None, None, None, "1709974800.000100", None, None, None]


def test_texts(sample: list[InboundMessage]) -> None:
    spoken = [m.content.text for m in sample if isinstance(m.content, TextContent)]
    assert spoken == ["psst", "Hello <@U2>", "in the thread", "Rain at noon", "", "/me waves"]


def test_reactions_follow_their_message(sample: list[InboundMessage]) -> None:
    expected = ReactionContent(target="1709974800.000100", target_user="U1", reaction="seedling")
    assert [m.content for m in sample[2:4]] == [expected, expected]
    assert sample[2].sent_at == sample[1].sent_at


def test_files_are_attachments(sample: list[InboundMessage]) -> None:
    rose = "https://files.example/F1/rose.png"
    assert text(sample[6]).attachments == (
        Attachment(kind=AttachmentKind.IMAGE, uri=rose, media_type="image/png", name="rose.png", size=12),
        Attachment(uri=NOT_EXPORTED),
    )


def test_what_is_unknown_or_missing_is_read_all_the_same(day: Day) -> None:
    entry = {"ts": "1", "text": None, "files": [None], "reactions": None, "attachments": None, "new": {"field": 1}}
    (message,) = read_history(day([entry]))
    assert (message.address.chat, message.address.user, message.sender_name) == ("general", "unknown", None)
    assert text(message) == TextContent(attachments=(Attachment(uri=NOT_EXPORTED),))


@pytest.mark.parametrize("subtype", ["channel_join", "channel_topic", "pinned_item", "tombstone", "something_new"])
def test_what_nobody_said_is_counted(day: Day, subtype: str) -> None:
    history = read_history(day([{"ts": "1.5", "text": "x", "subtype": subtype}, {"ts": "2.5", "type": "other"}]))
    assert (list(history), history.reading.notices) == ([], 2)


def test_lone_surrogates_become_replacement_characters(day: Day) -> None:
    (message,) = read_history(day([{"ts": "1.5", "text": "a\ud83d", "user": "U\ud83d"}]))
    assert (text(message).text, message.address.user) == ("a\ufffd", "U\ufffd")


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ("text", "entry 2: Input should be"),
        ({"text": "x"}, "entry 2: ts: Field required"),
        ({"text": "x", "ts": "noon"}, "entry 2: ts: String should match"),
        ({"text": "x" * 262_145, "ts": "2.0"}, "entry 2: text: String should have at most"),
        ({"text": "x", "ts": "2.0", "thread_ts": ""}, "entry 2: thread: String should have at least"),
    ],
)
def test_a_bad_entry_is_told_and_passed_over(day: Day, entry: Any, problem: str) -> None:
    history = read_history(day([{"ts": "3.0", "text": "x"}, entry, {"ts": "1.0", "text": "x"}]))
    assert [one.message_id for one in history] == ["1.0", "3.0"]
    assert_told(history, rf"general/2024-03-09\.json, {problem}")


def assert_told(history: History, problem: str) -> None:
    (missed,) = history.reading.not_understood
    assert re.match(problem, f"{missed.where}: {missed.problem}")


@pytest.mark.parametrize(
    ("lists", "problem"),
    [
        ({"users": {}}, r"users\.json: .*not a list"),
        ({"users": [{"name": "ann"}]}, r"users\.json, entry 1: id: Field required"),
        ({"channels": ["general"]}, r"channels\.json, entry 1: Input should be"),
    ],
)
def test_a_bad_list_is_told_and_costs_the_names_alone(day: Day, lists: dict[str, Any], problem: str) -> None:
    history = read_history(day([{"ts": "1.0", "text": "x"}], **lists))
    assert len(list(history)) == 1
    assert_told(history, problem)


def test_a_person_without_a_profile_has_a_name(day: Day) -> None:
    users = [{"id": "U1", "name": "ann", "profile": None}]
    (message,) = read_history(day([{"ts": "1.0", "text": "x", "user": "U1"}], users=users))
    assert message.sender_name == "ann"


def test_a_day_cut_short_is_told_and_the_others_are_read(day: Day) -> None:
    path = day([{"ts": "1.0", "text": "x"}])
    (path / "general" / "2024-03-10.json").write_text('[{"ts": "1.0",\n')
    history = read_history(path)
    assert len(list(history)) == 1
    assert_told(history, r"general/2024-03-10\.json: .*line 2: broken JSON")


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "in *blocks*"}}]}, "in *blocks*"),
        ({"blocks": [{"elements": [{"elements": [{"text": "rich "}, {"text": "text"}]}]}, {}]}, "rich text"),
        ({"attachments": [{"pretext": "Build", "text": "passed"}]}, "Build\npassed"),
        ({"text": "said", "blocks": [{"text": {"text": "other"}}]}, "said"),
        ({"blocks": "no list"}, ""),
    ],
)  # fmt: skip
def test_what_bots_say_in_blocks(day: Day, entry: Any, expected: str) -> None:
    (message,) = read_history(day([{"ts": "1.0", "subtype": "bot_message", "bot_id": "B1", **entry}]))
    assert text(message).text == expected


def test_blocks_nested_without_end_are_no_danger(day: Day) -> None:
    block: dict[str, Any] = {"text": "deep"}
    for _ in range(100):
        block = {"elements": [block]}
    (message,) = read_history(day([{"ts": "1.0", "blocks": [block, {"text": "x"}]}]))
    assert text(message).text == "x"


def test_a_comment_on_a_file_is_by_who_made_it(day: Day) -> None:
    comment = {"subtype": "file_comment", "text": "<@U2> commented", "comment": {"user": "U2", "comment": "nice"}}
    (message,) = read_history(day([{"ts": "1.0", "file": {"name": "a.png"}, **comment}]))
    assert (message.address.user, text(message).text) == ("U2", "nice")
    assert [attachment.name for attachment in text(message).attachments] == ["a.png"]


def test_an_export_without_lists_is_known_by_its_days(tmp_path: Path) -> None:
    path = tmp_path / "export.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("general/2024-03-09.json", json.dumps([{"ts": "1.0", "text": "x"}]))
    assert detect_format(path) is HistoryFormat.SLACK
    assert [message.address.chat for message in read_history(path)] == ["general"]


def test_of_a_grid_every_team_is_read(tmp_path: Path) -> None:
    path = tmp_path / "grid.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("org_users.json", json.dumps([{"id": "U1", "name": "ann"}]))
        for team, channel in (("", "C0"), ("teams/acme/", "C1"), ("teams/zeta/", "C2")):
            archive.writestr(f"{team}channels.json", json.dumps([{"id": channel, "name": "general"}]))
            archive.writestr(f"{team}general/2024-03-09.json", json.dumps([{"ts": "1.0", "text": "x", "user": "U1"}]))
    assert [(one.address.chat, one.sender_name) for one in read_history(path)] == [
        ("C0", "ann"),
        ("C1", "ann"),
        ("C2", "ann"),
    ]


def test_a_file_that_is_no_zip_is_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "export.zip"
    path.write_bytes(b"not a zip")
    with pytest.raises(HistoryUnreadable, match="not a zip, or a damaged one"):
        next(read_history(path, HistoryFormat.SLACK))


def test_a_damaged_member_of_a_zip_is_told_and_passed_over(tmp_path: Path) -> None:
    path = zipped(tmp_path / "export.zip")
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo("garden/2024-03-09.json")
    start = info.header_offset + 30 + len(info.filename)
    content[start : start + 40] = b"\xff" * 40
    path.write_bytes(content)
    history = read_history(path)
    assert {one.address.chat for one in history} == {"D7", "C1"}
    assert_told(history, r"garden/2024-03-09\.json: .*not a zip, or a damaged one")


def test_a_zip_with_a_password_is_unreadable(tmp_path: Path) -> None:
    path = zipped(tmp_path / "export.zip")
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(content)
    with pytest.raises(HistoryUnreadable, match="has a password"):
        detect_format(path)
