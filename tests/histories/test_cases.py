"""Each history gives what it should, and each line or entry of it is told as one thing or another."""

from pathlib import Path

import pytest

from agentbus.workers.importers import HistoryUnreadable, read_history
from tests.harness.processes import SHARED_DATA
from tests.histories import cases
from tests.histories.cases import HISTORIES, Case, there, try_case, uncovered

LOGS = {"irc", "whatsapp", "jsonl", "future", "overlap"}
FILES = [path for path in sorted(SHARED_DATA.rglob("*")) if path.is_file() and path.suffix != ".md"]


@pytest.mark.parametrize("case", there(), ids=lambda case: f"{case.file}: {case.told}")
def test_each_gives_what_it_should(case: Case) -> None:
    assert try_case(case).wrong == ()


def test_each_file_is_in_a_case() -> None:
    assert uncovered() == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(SHARED_DATA).as_posix())
def test_every_line_of_every_file_is_accounted_for(path: Path) -> None:
    try:
        history = read_history(path)
        messages = list(history)
    except HistoryUnreadable:
        return
    reading = history.reading
    assert len(messages) == reading.messages + reading.amendments
    assert reading.lines == (
        reading.lines_of_messages + reading.lines_of_notices + reading.lines_blank + reading.lines_not_understood
    )
    assert len(reading.not_understood) <= reading.lines_not_understood
    if path.relative_to(SHARED_DATA).parts[-2:][0] in LOGS and not reading.remarks:
        assert reading.lines == len(path.read_bytes().removesuffix(b"\n").split(b"\n")) * bool(path.stat().st_size)


def test_what_is_not_as_it_should_be_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cases, "HISTORIES", tmp_path)
    (tmp_path / "2024-03-09.log").write_text("[10:00] <ann> hi\n?\n")
    right = Case("2024-03-09.log", "1 message", messages=1, missed=1, said=(("ann", "hi"),))
    assert try_case(right).wrong == ()
    assert try_case(right).shown == "1 messages, 1 not understood, of ann"
    for wrong in (
        Case("2024-03-09.log", "", messages=2, missed=1),
        Case("2024-03-09.log", ""),
        Case("2024-03-09.log", "", missed=1, said=(("ann", "ho"),)),
        Case("2024-03-09.log", "", missed=1, times=("2024-03-09 10:01:00",)),
        Case("2024-03-09.log", "", missed=1, remark="guess"),
        Case("2024-03-09.log", "", missed=1, error="no"),
        Case("gone.log", "", messages=0),
        Case("gone.log", "", error="another"),
    ):
        assert try_case(wrong).wrong != ()
    assert uncovered() == ["2024-03-09.log"]
    assert tmp_path != HISTORIES
