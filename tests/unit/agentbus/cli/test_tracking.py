"""`agentbus tracking rebuild` and `agentbus stats`, as an operator uses them, on a store of this machine."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from xml.etree import ElementTree

import pytest
from PIL import Image

from agentbus.contracts.session import SessionStatus
from agentbus.operations import tracking as operations
from agentbus.storage.factory import open_store
from agentbus.workers.domain.checks.states import TRANSITIONS
from tests.harness.cli import called
from tests.harness.conversations import CONVERSATION
from tests.harness.usage_logs import a_log

_NOW = datetime(2026, 3, 30, tzinfo=UTC)


@pytest.fixture
def env(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Keep a conversation of March in a store that no worker has followed, and let it be the end of that month."""

    async def live() -> None:
        async with open_store(f"file://{tmp_path}/store") as store:
            for commit in a_log(Random(5), 25, erasures=False):
                await store.log.append([commit])

    class _Clock:
        def now(self) -> datetime:
            return _NOW

    asyncio.run(live())
    monkeypatch.setattr(operations, "make_clock", _Clock)
    return {"AGENTBUS_STORE_URL": f"file://{tmp_path}/store"}


def test_figures_are_there_once_they_were_rebuilt(env: dict[str, str]) -> None:
    nothing = json.loads(called("stats", "--json", env=env).stdout)
    assert (nothing["conversations"], nothing["messages"]) == (0, {})

    rebuilt = called("tracking", "rebuild", "--json", env=env)
    assert (rebuilt.returncode, json.loads(rebuilt.stdout)) == (0, {"conversations": 1, "kept": 0, "damaged": 0})

    found = json.loads(called("stats", "--json", "--zone", "Asia/Tokyo", env=env).stdout)
    assert found["conversations"] == 1
    assert sum(found["by_hour"]) == sum(found["by_weekday"]) == found["messages"]["user"] > 5
    assert sum(step["messages"] for step in found["trend"]) == sum(found["messages"].values())


def test_people_are_shown_words_and_bars(env: dict[str, str]) -> None:
    assert called("tracking", "rebuild", env=env).stdout.splitlines()[0] == "conversations\t1"
    shown = called("stats", "--plot", env=env).stdout
    assert "busiest_hour" in shown
    assert "Monday" in shown
    assert "█" in shown


def test_a_session_is_predicted_and_predictions_are_assessed(env: dict[str, str]) -> None:
    called("tracking", "rebuild", env=env)
    session = json.loads(called("sessions", "list", "--json", env=env).stdout)["items"]
    assert session == [], "the log alone is there: no head"
    refused = called("predict", f"{CONVERSATION}.1", env=env)
    assert refused.returncode != 0
    assert f"{CONVERSATION}.1" in refused.stderr
    assessed = json.loads(called("tracking", "assess", "--hours", "5", "--json", env=env).stdout)
    assert assessed["cases"] >= 0


def test_the_machine_is_drawn_as_it_is(env: dict[str, str]) -> None:
    drawn = called("tracking", "machine", env=env).stdout.splitlines()
    ways = {tuple(line.strip().split(" --> ")) for line in drawn if " --> " in line}
    assert drawn[0] == "stateDiagram-v2"
    assert ways - {("[*]", "active"), ("deleted", "[*]")} == {
        (status.value, other.value)
        for status in SessionStatus
        for other in {*TRANSITIONS[status], SessionStatus.DELETED} - {status}
    }


def test_a_picture_has_a_bar_for_each_count(env: dict[str, str], tmp_path: Path) -> None:
    called("tracking", "rebuild", env=env)
    picture = tmp_path / "usage.svg"
    found = json.loads(called("stats", "--json", "--plot", str(picture), env=env).stdout)
    root = ElementTree.fromstring(picture.read_text("utf-8"))  # noqa: S314 - written by ourselves
    bars = [title.text for title in root.iter("{http://www.w3.org/2000/svg}title")]
    assert len(bars) == 24 + 7 + len(found["trend"])
    assert f"Monday: {found['by_weekday'][0]}" in bars
    image = tmp_path / "usage.png"
    shown = called("stats", "--plot", str(image), env=env).stdout
    assert ("busiest_hour" in shown, "█" in shown) == (True, False)
    with Image.open(image) as drawn:
        assert drawn.size == (1800, 1680)
    refused = called("stats", "--plot", str(tmp_path / "no" / "such.svg"), env=env)
    assert refused.returncode != 0
    assert "such.svg can't be written" in refused.stderr
    refused = called("stats", str(picture), env=env)
    assert refused.returncode != 0
    assert "--plot" in refused.stderr


def test_what_is_no_time_zone_is_refused(env: dict[str, str]) -> None:
    refused = called("stats", "--zone", "Nowhere/Else", env=env)
    assert refused.returncode != 0
    assert "Nowhere/Else" in refused.stderr


@pytest.mark.parametrize("command", [("tracking", "machine", "--set"), ("expiry", "rules", "add")])
def test_a_file_that_is_not_utf_8_is_refused_by_name(
    command: tuple[str, ...], env: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "given.toml"
    file.write_bytes(b"name = '\xff'")
    done = called(*command, str(file), env=env)
    assert done.returncode == 2
    assert "is not UTF-8: byte 8" in " ".join(done.stderr.split())
