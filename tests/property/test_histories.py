"""Whatever people say is read back from a history of any format, and always under the same ids."""

import json
import string
import zipfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentbus.contracts.address import Address, Platform
from agentbus.contracts.messages import InboundMessage, TextContent
from agentbus.workers.importers import HistoryFormat, HistoryUnreadable, read_history

Said = tuple[str, str, datetime]
"""Who, what and when."""

START = datetime(2024, 1, 31, 22, tzinfo=UTC)
_MARKS = "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff"

_NO_NAME = ':"“”„«»「」『』\u2039\u203a《》'
"""What ends a name, or tells that it is none."""

any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
one_line = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r"), max_size=60)
nicks = st.builds(
    str.__add__,
    st.sampled_from(string.ascii_letters + "[]\\`_^{|}"),
    st.text(string.ascii_letters + string.digits + "[]\\`_^{|}-", max_size=12),
)
names = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Zs", "Zl", "Zp"], exclude_characters=_NO_NAME + _MARKS),
    min_size=1,
    max_size=12,
)


def conversations(
    who: st.SearchStrategy[str], what: st.SearchStrategy[str], at_least: int = 0
) -> st.SearchStrategy[list[Said]]:
    """Draw who says what in turn, less than 18 hours apart: a log without dates can't tell more."""
    gaps = st.lists(st.tuples(who, what, st.integers(0, 17 * 60)), min_size=at_least, max_size=12)

    def timed(drawn: list[tuple[str, str, int]]) -> list[Said]:
        moment, said = START, []
        for name, text, minutes in drawn:
            moment += timedelta(minutes=minutes)
            said.append((name, text, moment))
        return said

    return gaps.map(timed)


IRC = {
    "most": "[{at:%H:%M}] <{who}> {text}",
    "irssi": "{at:%H:%M} <@{who}> {text}",
    "mirc": "[{at:%I:%M%p}] <{who}> {text}",
    "weechat": "{at:%Y-%m-%d %H:%M:%S}\t@{who}\t{text}",
    "hexchat": "{at:%b %d %H:%M:%S} <{who}>\t{text}",
    "konversation": "[{at:%a %b %d %Y}] [{at:%H:%M:%S}] <{who}>\t{text}",
    "textual": "[{at:%Y-%m-%dT%H:%M:%S%z}] <{who}> {text}",
    "dircproxy": "[{at:%d %b %H:%M}] <{who}!~u@host.example> {text}",
}
WHATSAPP = {
    "android": "{at:%d/%m/%y, %H:%M} - {who}: {text}",
    "ios": "[{at:%m/%d/%Y, %I:%M:%S %p}] {who}: {text}",
    "korean": "{at:%Y}년 {at:%m}월 {at:%d}일 {half} {at:%I:%M}, {who} : {text}",
    "arabic": "\u200f[{digits}] {who}: {text}",
    "finnish": "{at:%d.%m.%Y} klo {at:%H.%M} - {who}: {text}",
    "hungarian": "{at:%Y. %m. %d. %H:%M} - {who}: {text}",
}
_ARABIC = str.maketrans("0123456789,", "".join(chr(0x660 + number) for number in range(10)) + "\u060c")


def render_lines(form: str, said: Sequence[Said], path: Path) -> None:
    lines = [
        form.format(
            who=who,
            text=text,
            at=at,
            half="오전" if at.hour < 12 else "오후",
            digits=f"{at:%d/%m/%Y, %H:%M:%S}".translate(_ARABIC),
        )
        for who, text, at in said
    ]
    path.write_bytes("".join(f"{line}\n" for line in lines).encode())


def render_telegram(said: Sequence[Said], path: Path) -> None:
    messages = [
        {"date_unixtime": int(at.timestamp()), "from": who, "text": ["", {"text": text}]} for who, text, at in said
    ]
    path.write_text(json.dumps({"name": "chat", "messages": messages}))


def render_slack(said: Sequence[Said], path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("users.json", "[]")
        for number, (who, text, at) in enumerate(said):
            entry = {"user": who, "text": text, "ts": f"{int(at.timestamp())}.{number:06}"}
            archive.writestr(f"general/{date(2024, 1, 1) + timedelta(days=number)}.json", json.dumps([entry]))


def render_jsonl(said: Sequence[Said], path: Path) -> None:
    lines = [
        InboundMessage(
            address=Address(platform=Platform.WEB, chat="chat", user=who),
            message_id=str(number),
            sent_at=at,
            content=TextContent(text=text),
        ).model_dump_json()
        for number, (who, text, at) in enumerate(said)
    ]
    path.write_text("\n".join(lines))


def check(path: Path, format_: HistoryFormat, said: Sequence[Said]) -> None:
    def read() -> list[InboundMessage]:
        return list(read_history(path, format_, first_day=said[0][2].date() if said else None))

    messages = read()
    contents = [message.content for message in messages if isinstance(message.content, TextContent)]
    assert [content.text for content in contents] == [text for _, text, _ in said]
    assert [(m.address.user, m.sent_at) for m in messages] == [(who, at) for who, _, at in said]
    assert len({message.input_id() for message in messages}) == len(said)
    assert [message.input_id() for message in read()] == [message.input_id() for message in messages]


shared_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@shared_folder
@given(said=conversations(nicks, one_line), form=st.sampled_from(sorted(IRC)))
def test_irc(tmp_path: Path, said: list[Said], form: str) -> None:
    render_lines(IRC[form], said, tmp_path / "log")
    check(tmp_path / "log", HistoryFormat.IRC, said)


@shared_folder
@given(
    said=conversations(
        names, st.lists(one_line, min_size=1, max_size=3).map("\n".join).map(lambda t: t.lstrip(_MARKS))
    ),
    form=st.sampled_from(sorted(WHATSAPP)),
)
def test_whatsapp(tmp_path: Path, said: list[Said], form: str) -> None:
    closing = ("Zoe", "the end", datetime(2024, 12, 31, 10, tzinfo=UTC))  # a date that tells day from month
    render_lines(WHATSAPP[form], [*said, closing], tmp_path / "chat")
    check(tmp_path / "chat", HistoryFormat.WHATSAPP, [*said, closing])


@shared_folder
@given(
    said=conversations(names, any_text, at_least=1),
    form=st.sampled_from(
        [
            (render_telegram, HistoryFormat.TELEGRAM),
            (render_slack, HistoryFormat.SLACK),
            (render_jsonl, HistoryFormat.JSONL),
        ]
    ),
)
def test_exports(
    tmp_path: Path, said: list[Said], form: tuple[Callable[[Sequence[Said], Path], None], HistoryFormat]
) -> None:
    render, format_ = form
    render(said, tmp_path / "export")
    check(tmp_path / "export", format_, said)


@shared_folder
@given(raw=st.binary(max_size=200), format_=st.sampled_from(HistoryFormat))
def test_any_bytes_are_read_or_refused(tmp_path: Path, raw: bytes, format_: HistoryFormat) -> None:
    path = tmp_path / "bytes"
    path.write_bytes(raw)
    with suppress(HistoryUnreadable):
        assert all(isinstance(message, InboundMessage) for message in read_history(path, format_))


@shared_folder
@given(
    lines=st.lists(
        st.lists(
            st.sampled_from(
                ["[", "]", "10:00", "01/02/24", ", ", " - ", ":", " ", "<", ">", "ann", "*", "===", "\n", '"', "{", "9"]
            )
        ).map("".join)
    ),
    format_=st.sampled_from([HistoryFormat.IRC, HistoryFormat.WHATSAPP]),
)
def test_no_line_is_lost(tmp_path: Path, lines: list[str], format_: HistoryFormat) -> None:
    path = tmp_path / "log"
    path.write_text("\n".join(lines))
    history = read_history(path, format_, first_day=date(2024, 3, 9))
    with suppress(HistoryUnreadable):
        read = sum(1 + one.content.text.count("\n") for one in history if isinstance(one.content, TextContent))
        assert read == history.reading.lines_of_messages
    reading = history.reading
    assert reading.lines == len(path.read_bytes().splitlines())
    assert reading.lines == (
        reading.lines_of_messages + reading.lines_of_notices + reading.lines_blank + reading.lines_not_understood
    )


@pytest.mark.parametrize("cut", range(1, 40))
def test_json_cut_anywhere_is_refused(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "export.json"
    render_telegram([("ann", "hello", START)], path)
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(HistoryUnreadable, match="broken JSON"):
        next(read_history(path, HistoryFormat.TELEGRAM))
