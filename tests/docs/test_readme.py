"""The README is short, and its first example holds what it says."""

import asyncio
from pathlib import Path
from typing import Final

import pytest

from agentbus.sessions import SessionContext, SessionSystem
from agentbus.sessions.config import make_config
from tests.docs.markdown import README, blocks
from tests.docs.running import execute, many_at_once

TEXT: Final = README.read_text("utf-8")
MOST_WORDS: Final = 900


def test_it_is_read_within_minutes() -> None:
    assert len(TEXT.split()) <= MOST_WORDS


def test_the_first_example_works_with_many_requests_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    example = next(block.text for block in blocks(TEXT, "python") if "session_context(" in block.text)
    execute(many_at_once(example, "session_context", times=20))
    assert f"{['Hello!'] * 20}\n" in capsys.readouterr().out

    async def kept() -> SessionContext | None:
        async with SessionSystem(make_config(storage_type="DATABASE", storage_config={"db_path": "sessions.db"})) as s:
            return await s.get_user_session("ann", "42", "telegram")

    session = asyncio.run(kept())
    assert session is not None
    assert (session.message_count, session.data) == (20, {"step": 20})
