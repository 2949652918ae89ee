"""`agentbus import` and `agentbus replay`: what they tell of a history, and how they end."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.harness.cli import called, whole_command_line

PATIENT = ("--patience", "600")
"""Cores may be busy."""

IN_MEMORY = ("--store", "memory://", *PATIENT)

WORKERS = Path(__file__).parents[4] / "workers"

Chat = Callable[..., Path]


@pytest.fixture
def chat(tmp_path: Path) -> Chat:
    def write(text: str, name: str = "WhatsApp Chat with Ann.txt") -> Path:
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def report_of(*arguments: str, code: int = 0) -> dict[str, Any]:
    done = called(*arguments, "--json")
    assert done.returncode == code, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def test_a_dry_run_tells_what_is_in_it_and_needs_nothing(chat: Chat) -> None:
    path = chat("what?\n\n13/02/24, 10:00 - Ann: hi\nthere\n13/02/24, 10:01 - Ann left\n")
    assert report_of("import", str(path), "--dry-run") == {
        "format": "whatsapp",
        "messages": 1,
        "amendments": 0,
        "notices": 1,
        "lines": 5,
        "lines_of_messages": 2,
        "lines_of_notices": 1,
        "lines_blank": 1,
        "lines_not_understood": 1,
        "not_understood": [{"where": "line 1", "problem": "before the first message"}],
        "remarks": [],
    }


def test_people_are_told_of_guesses_and_of_the_first_lines_that_were_not_understood(chat: Chat) -> None:
    path = chat("what?\n" * 12 + "12/9/20, 10:00 - Ann: hi\n")
    done = called("import", str(path), "--dry-run")
    assert done.returncode == 0
    assert "format\twhatsapp" in done.stdout
    assert "--month-first says otherwise" in done.stderr
    assert "not understood: line 10: before the first message" in done.stderr
    assert "and 2 more: --json lists them" in done.stderr


def test_where_to_keep_it_has_to_be_said(chat: Chat) -> None:
    done = called("import", str(chat("13/02/24, 10:00 - Ann: hi\n")))
    assert done.returncode == 1
    assert "--store URL" in done.stderr


def test_another_export_of_the_same_chat_adds_what_is_new(chat: Chat, tmp_path: Path) -> None:
    lines = [f"1{day}/06/2020, 10:00 - Ann: line {day}\n" for day in range(3, 8)]
    store = ("--store", f"sqlite:///{tmp_path}/kept.db", "--scope", "per_chat", *PATIENT)
    first = report_of("import", str(chat("".join(lines[:3]))), *store)
    later = report_of("import", str(chat("".join(lines[1:]))), *store)
    assert (first["committed"], later["committed"], later["lost"]) == (3, 4, 0)
    (session,) = json.loads(called("sessions", "list", *store[:2], "--json").stdout)["items"]
    shown = json.loads(called("sessions", "history", session["session_id"], *store[:2], "--json").stdout)
    assert [one["message"]["content"]["text"] for one in shown["items"]] == [f"line {day}" for day in range(3, 8)]


def test_what_was_edited_or_deleted_is_marked_in_the_session(chat: Chat, tmp_path: Path) -> None:
    lines = ("13/02/24, 10:00 - Ann: hi <This message was edited>", "13/02/24, 10:01 - Ann: This message was deleted")
    path = chat("\n".join(lines))
    store = f"sqlite:///{tmp_path}/kept.db"
    report = report_of("import", str(path), "--store", store, *PATIENT)
    assert (report["messages"], report["amendments"], report["committed"]) == (2, 2, 4)
    (session,) = json.loads(called("sessions", "list", "--store", store, "--json").stdout)["items"]
    shown = json.loads(called("sessions", "history", session["session_id"], "--store", store, "--json").stdout)
    edited, deleted = shown["items"]
    assert edited["message"]["content"]["text"] == "hi"
    assert edited["edited_at"]
    assert deleted["deleted_at"]


def test_options_reach_the_reader(chat: Chat) -> None:
    path = chat("[10:00] <ann> hi\n", name="log.txt")
    done = called("replay", str(path))
    assert done.returncode == 1
    assert "--first-day" in done.stderr
    given = ("--first-day", "2005-06-27", "--zone", "+05:30", "--chat", "#c", "--account", "a", "--day-first")
    assert report_of("replay", str(path), *given, *IN_MEMORY)["committed"] == 1


@pytest.mark.parametrize("zone", ["Nowhere/Land", "+99:00", "../etc/passwd", "/etc/passwd"])
def test_a_zone_that_is_none_is_refused(chat: Chat, zone: str) -> None:
    done = called("import", str(chat("x")), "--dry-run", "--zone", zone)
    assert done.returncode == 2
    assert "is no time zone" in done.stderr


def test_what_is_parked_ends_it_with_1_and_the_cause(chat: Chat) -> None:
    message = {
        "address": {"platform": "web", "chat": "c", "user": "u"},
        "message_id": "1",
        "sent_at": "2999-01-01T00:00:00Z",
        "content": {"kind": "text", "text": "x"},
    }
    path = chat(json.dumps(message), name="messages.jsonl")
    done = called("replay", str(path), "--json", *IN_MEMORY)
    report = json.loads(done.stdout)
    assert (done.returncode, report["parked"], report["lost"]) == (1, 1, 0)
    (cause,) = report["causes"]
    assert (cause["code"], cause["inputs"]) == ("future_timestamp", 1)
    assert "1 parked as future_timestamp" in done.stderr


def test_no_message_in_it_ends_it_with_1(chat: Chat) -> None:
    done = called("import", str(chat("hello\n", name="2024-03-09.log")), "--format", "irc", "--dry-run")
    assert done.returncode == 1
    assert "(history_unreadable)" in done.stderr
    assert "line 1: neither something said" in done.stderr


def test_every_option_that_the_readers_name_is_there() -> None:
    named = {
        option
        for module in (WORKERS / "importers").glob("*.py")
        for option in re.findall(r"(?<![\w-])--[a-z]{3}[a-z-]*", module.read_text("utf-8"))
    }
    assert {"--first-day", "--month-first", "--zone", "--format"} <= named
    for command in ("import", "replay"):
        parameters = whole_command_line().commands[command].params
        there = {option for one in parameters for option in (*one.opts, *one.secondary_opts)}
        assert named <= there
