"""What commands print: text is shown as it was written, and does nothing to the terminal."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
import typer

from agentbus.cli.output import Format, asked_format, err, print_fields, print_json, print_rows
from agentbus.cli.running import EXIT_FAILED, fail
from agentbus.contracts.address import Platform
from agentbus.contracts.errors import SessionNotFound

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(err, "width", 200)
    token = asked_format.set(Format.WIDE)
    yield
    asked_format.reset(token)


def rows_printed(rows: Sequence[Mapping[str, Any]], capsys: Captured, **options: Any) -> list[str]:
    print_rows(rows, ("name", "last_seen"), as_json=False, empty="None yet.", **options)
    return capsys.readouterr().out.splitlines()


def test_a_list_is_a_table_of_its_columns(capsys: Captured) -> None:
    rows: list[dict[str, Any]] = [
        {"name": "ann", "last_seen": datetime(2026, 1, 2, 3, 4, 5, 678000, UTC), "hidden": 1},
        {"name": "bob"},
    ]
    head, first, second = rows_printed(rows, capsys)
    assert head.split() == ["name", "last", "seen"]
    assert first.split() == ["ann", "2026-01-02T03:04:05.678Z"]
    assert second.split() == ["bob", "-"]


def test_an_empty_list_says_what_to_do(capsys: Captured) -> None:
    assert rows_printed([], capsys) == ["None yet."]


def test_a_cursor_is_shown_whole(capsys: Captured) -> None:
    cursor = "c" * 300
    assert rows_printed([{"name": "ann"}], capsys, cursor=cursor)[-1] == f"More: --cursor {cursor}"


def test_in_a_pipe_a_list_is_lines_of_values_and_all_else_goes_beside(capsys: Captured) -> None:
    asked_format.set(None)
    print_rows([{"name": "a\tb\nc\u2028d", "at": None}], ("name", "at"), as_json=False, cursor="c", empty="None yet.")
    print_rows([], ("name",), as_json=False, empty="None yet.")
    printed = capsys.readouterr()
    assert printed.out == "name\tat\na\\tb\\nc\\u2028d\t-\n"
    assert printed.err == "\nMore: --cursor c\nNone yet.\n"


def test_in_a_pipe_one_thing_is_a_line_a_field(capsys: Captured) -> None:
    asked_format.set(None)
    print_fields({"session_id": "abc.1", "stack": "line 1\nline 2"})
    assert capsys.readouterr().out == "session_id\tabc.1\nstack\tline 1\\nline 2\n"


def test_line_breaks_of_a_field_are_kept_for_people(capsys: Captured) -> None:
    print_fields({"stack": "line 1\nline 2"})
    assert capsys.readouterr().out == "stack  line 1\n       line 2\n"


def test_a_list_as_json_holds_everything(capsys: Captured) -> None:
    row = {"name": "änn", "hidden": 1, "at": datetime(2026, 1, 2, tzinfo=UTC), "platform": Platform.SLACK}
    print_rows([row], ("name",), as_json=True, cursor="next", empty="")
    printed = capsys.readouterr().out
    assert printed.count("\n") == 1, "one line for a pipe"
    item = {"name": "änn", "hidden": 1, "at": "2026-01-02T00:00:00Z", "platform": "slack"}
    assert json.loads(printed) == {"items": [item], "cursor": "next"}
    assert "änn" in printed


def test_an_empty_list_as_json_is_json(capsys: Captured) -> None:
    print_rows([], ("name",), as_json=True, empty="None yet.")
    assert json.loads(capsys.readouterr().out) == {"items": [], "cursor": None}


def test_json_is_indented_for_a_terminal(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    print_json({"a": 1})
    assert capsys.readouterr().out == '{\n  "a": 1\n}\n'


def test_one_thing_is_names_and_values(capsys: Captured) -> None:
    print_fields({"session_id": "abc.1", "data": {"tags": ["bold"]}, "chat": None, "user": "", "count": 0})
    printed = [line.rstrip().split(maxsplit=2) for line in capsys.readouterr().out.splitlines()]
    assert printed == [
        ["session", "id", "abc.1"],
        ["data", '{"tags":', '["bold"]}'],
        ["chat", "-"],
        ["user", "-"],
        ["count", "0"],
    ]


@pytest.mark.parametrize(
    "text",
    ["[bold]hi[/bold]", "[/]", "a[0] = [1]", "[Errno 111] refused", "\\[x]", "ends in \\", ":warning: at 10:00:"],
)
def test_text_is_shown_as_it_is(text: str, capsys: Captured) -> None:
    print_fields({"x": text, "y": [text]})
    first, second = capsys.readouterr().out.splitlines()
    assert first.removeprefix("x").strip() == text
    assert second.removeprefix("y").strip() == json.dumps([text])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J\x1b]0;title\x07", r"\x1b[2J\x1b]0;title\x07"),
        ("over\rwritten\x08", r"over\rwritten\x08"),
        ("\x9b31m", r"\x9b31m"),
        ("abc\u202egpj.exe", r"abc\u202egpj.exe"),
        ("family 👨‍👩‍👧 and　space", "family 👨‍👩‍👧 and　space"),
    ],
)
def test_text_does_not_steer_the_terminal(text: str, shown: str, capsys: Captured) -> None:
    print_fields({"x": text})
    assert capsys.readouterr().out.removeprefix("x").strip() == shown


def test_an_error_is_one_line_on_standard_error(capsys: Captured) -> None:
    with pytest.raises(typer.Exit) as caught:
        fail(SessionNotFound("no session 'a[0]' [Errno 2] " + "x" * 300))
    printed = capsys.readouterr()
    assert caught.value.exit_code == EXIT_FAILED
    assert printed.out == ""
    assert printed.err == "error (session_not_found) no session 'a[0]' [Errno 2] " + "x" * 300 + "\n"
