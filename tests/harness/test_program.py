"""What programs that try AgentBus have in common: what they are asked for, what they say, and what they write down."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.harness.program import at_least_one, parser, part_of, say, some_of, tell
from tests.harness.results import write_results


def test_some_are_named_and_a_name_that_is_not_known_is_told_with_those_that_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = parser("any", "what it does", quick="a little", seed="others")
    asked.add_argument("--only", type=some_of({"one": 1, "two": 2}), default=[])
    chosen = asked.parse_args(["--only", "two,one", "--quick"])
    assert (chosen.only, chosen.quick, chosen.seed) == ([2, 1], True, 1)
    with pytest.raises(SystemExit):
        asked.parse_args(["--only", "two,three"])
    assert "there is no 'three'; there are one, two" in capsys.readouterr().err


def test_never_is_no_number_of_times() -> None:
    asked = parser("any", None)
    asked.add_argument("--runs", type=at_least_one)
    assert asked.parse_args(["--runs", "1"]).runs == 1
    with pytest.raises(SystemExit):
        asked.parse_args(["--runs", "0"])


def test_results_are_filed_under_what_was_asked_for() -> None:
    assert part_of([], "all") == "all"
    assert part_of(["one", "two"], "all", quick=True) == "one-two-quick"
    assert len(part_of(["name"] * 100, "all") + ".json") < 255, "a file may be called so"


def test_progress_is_for_people_and_the_last_line_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    say("[half] of it")
    tell({"done": 2})
    said = capsys.readouterr()
    assert (said.err, json.loads(said.out)) == ("[half] of it\n", {"done": 2})


def test_results_tell_when_and_where_they_came_about_and_the_latest_replace_those_before(tmp_path: Path) -> None:
    file = tmp_path / "results" / "all.json"
    write_results(file, {"seed": 1, "folder": tmp_path})
    assert write_results(file, {"seed": 2}) == file
    told = json.loads(file.read_text("utf-8"))
    assert told["seed"] == 2
    assert "folder" not in told
    assert told["machine"]["cores"] == os.cpu_count()
    assert told["machine"]["memory_gb"] > 0
    assert datetime.fromisoformat(told["at"]).tzinfo is UTC
    assert "commit" in told
