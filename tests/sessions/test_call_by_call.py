"""The page that says, call by call, what happens under contention, after a time-out, and to earlier sessions."""

import inspect
from contextlib import AsyncExitStack
from typing import Final

import pytest

import agentbus.sessions
from agentbus.contracts.commands import ResetSession
from agentbus.contracts.ids import SessionId
from agentbus.sessions import SessionNotCurrent, SessionSystem, session_context
from agentbus.sessions.config import make_config
from tests.docs.markdown import ROOT
from tests.sessions.access.rows import ROWS, Row
from tests.sessions.access.test_matrix import CALLS, place

PAGE: Final = (ROOT / "docs" / "calls.md").read_text("utf-8")
TABLE: Final[list[list[str]]] = [
    [cell.strip() for cell in line.strip().strip("|").split("|")]
    for line in PAGE.splitlines()
    if line.startswith("| `")
]
CELLS: Final = {row[0].strip("`"): row[1:] for row in TABLE}
EARLIER: Final = {"refused", "done", "read", "passes over it", "ends it", "its conversation's", ""}
ON_EARLIER: Final = {
    name: row
    for name, row in ROWS.items()
    if name in CELLS and CELLS[name][3] in {"refused", "done", "read"} and name != "delete_sessions"
}
ABOUT_NO_SESSION: Final = {
    "register_provider",
    "create_expiry_manager",
    "create_session_persistence",
    "create_session_state_tracker",
    "create_session_sync",
    "register_condition",
    "register_transition_handler",
    "get_development_config",
    "get_production_config",
    "create_email_notification_callback",
    "create_webhook_notification_callback",
    "default_notification_callback",
}
"""Functions that make, or make known, what a system is set up with."""
FUNCTIONS: Final = {
    name
    for name in agentbus.sessions.__all__
    if inspect.isfunction(getattr(agentbus.sessions, name)) and name not in CALLS | dict.fromkeys(ABOUT_NO_SESSION)
}
OWNERS: Final = {"share_session", "revoke_share", "set_visibility"}
"""Those that are always done by somebody."""


def test_every_call_has_a_row_and_every_row_a_call() -> None:
    assert len(TABLE) == len(CELLS)
    assert CELLS.keys() == CALLS.keys() | FUNCTIONS
    assert all(len(row) == 5 and row[1] for row in TABLE)


def test_the_rows_say_what_the_calls_take() -> None:
    for name, (_, timed_out, lock, earlier) in CELLS.items():
        takes = inspect.signature(CALLS[name]).parameters if name in CALLS else {}
        assert ("`request_id`" in timed_out) == ("request_id" in takes), name
        assert (lock == "`fence`") == ("fence" in takes), name
        assert lock in {"", "`fence`"}, name
        assert earlier in EARLIER, name
        assert timed_out.startswith(("`request_id`", "*again*", "*look*", "*message's id*")), name


@pytest.mark.parametrize("name", ON_EARLIER)
async def test_what_is_done_to_an_earlier_session_is_what_the_row_says(name: str) -> None:
    row: Row = ON_EARLIER[name]
    config = make_config(
        enable_sync=row.syncs,
        enable_tracking=row.tracks,
        enable_persistence=row.persists,
        backup_dir="memory://matrix" if row.persists else None,
        enable_cleanup=False,
        partitions=4,
    )
    async with SessionSystem(config) as system:
        at = await place(system, "nobody", "present", row)
        for session in (at.session, at.other):
            head = await system._store.heads.get(session)  # type: ignore[arg-type]
            assert head is not None
            await system._engine.send(ResetSession(), to=head.conversation_id)
        if CELLS[name][3] == "refused":
            with pytest.raises(SessionNotCurrent):
                await row.call(system, at, None if name not in OWNERS else "ann")
        else:
            await row.call(system, at, None if name not in OWNERS else "ann")


async def test_a_context_whose_session_was_followed_by_another_is_refused() -> None:
    async with SessionSystem(make_config(enable_cleanup=False, partitions=4)) as system, AsyncExitStack() as ending:
        place = session_context(system, chat_id="c1", user_id="ann", platform="web")
        session = await ending.enter_async_context(place)
        session.set_data("city", "Rome")
        await system._engine.send(ResetSession(session_id=SessionId(session.session_id)))
        with pytest.raises(SessionNotCurrent):
            await ending.aclose()
