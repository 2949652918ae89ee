"""What is public is what was agreed: a change to it is seen, and made on purpose."""

from pathlib import Path

import pytest

from tests.typing import snapshot
from tests.typing.snapshot import AGREED, MODULES, changes, difference, main

SMALL = ("agentbus.http", "agentbus.state")
"""Modules that are told soon; what is public of each is looked at by a test of its own."""


@pytest.mark.parametrize("name", MODULES)
def test_the_public_api_is_what_was_agreed(name: str) -> None:
    found = changes(name)
    assert not found, f"\n{found}"


def test_a_change_is_told_with_the_way_to_agree_to_it() -> None:
    agreed = (AGREED / "agentbus.client.txt").read_text("utf-8")
    now = agreed.replace(
        "command_id: str | None=None, timeout: float=10.0", "command_id: str | None=None, timeout: int"
    ).replace("class Receipt", "class Slip")
    told = difference("agentbus.client", agreed, now).splitlines()
    assert told[:2] == ["--- agentbus.client as agreed", "+++ agentbus.client now"]
    assert sum(line.startswith("-") for line in told) == sum(line.startswith("+") for line in told) == 4
    assert any(line.startswith("+    async def send(") and "timeout: int)" in line for line in told)
    assert told[-1].endswith("python -m tests.typing.snapshot --write")


def test_agreeing_writes_what_is_public(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(snapshot, "AGREED", tmp_path)
    monkeypatch.setattr(snapshot, "MODULES", SMALL)
    for name in SMALL:
        (tmp_path / f"{name}.txt").write_text("class Gone\n")
    assert main([]) == 1
    assert "-class Gone" in capsys.readouterr().out
    assert main(["--write"]) == 0
    assert main([]) == 0
    assert {file.stem for file in tmp_path.iterdir()} == set(SMALL)


def test_what_is_inherited_from_what_is_not_exported_counts() -> None:
    text = (AGREED / "agentbus.sessions.txt").read_text("utf-8")
    manager = text.partition("\nclass SessionManager\n")[2].partition("\nclass ")[0]
    assert "    async def acquire_lock(self, session_id: str, *, timeout: float=WAIT_SECONDS" in manager
    assert " _" not in manager.replace(" __init__", "")
