"""Every public call, by everybody, about what is there, missing and deleted: done, or refused in the same words."""

import asyncio
import inspect
from datetime import UTC, datetime
from typing import Any, Final

import pytest

from agentbus.contracts.ids import SessionId
from agentbus.sessions import AccessDenied, SessionContext, SessionSystem
from agentbus.sessions.config import make_config
from agentbus.workers.domain.access import Right
from tests.harness.patience import PATIENCE
from tests.harness.sampling import sampled
from tests.sessions.access.rows import APART, CHECKED, NAMES_ONE, ROWS, SAME, WORDS, Place, Row

WHO: Final[dict[str, tuple[str | None, Right]]] = {
    "owner": ("ann", Right.OWN),
    "shared to read": ("ron", Right.READ),
    "shared to write": ("wim", Right.WRITE),
    "revoked": ("rex", Right.NONE),
    "public": ("pat", Right.READ),
    "stranger": ("eve", Right.NONE),
    "nobody": (None, Right.OWN),
}
"""Who calls, and what they may do; nobody is the application itself."""
STATES = ("present", "missing", "deleted")
NONE: Final = SessionId("a" * 26 + ".1")
CALLS: Final = {
    name: call for name, call in inspect.getmembers(SessionSystem, inspect.isfunction) if not name.startswith("_")
}


async def made(system: SessionSystem, who: str) -> SessionContext:
    """Make a session of Ann's, and let `who` have the rights that they have."""
    session = await system.create_session(user_id="ann", expires_in=600, metadata={"handle": "ann"})
    match who, WHO[who][0]:
        case "shared to read", str(user):
            await system.share_session(session.session_id, "ann", user, "read")
        case (("shared to write" | "revoked"), str(user)):
            await system.share_session(session.session_id, "ann", user, "write")
        case "public", _:
            await system.set_visibility(session.session_id, "ann", "public")
    if who == "revoked":
        await system.revoke_share(session.session_id, "ann", "rex")
    context = await system.get_session(session.session_id)
    assert context is not None
    context.set_data("changed", True)
    return context


async def suggestion(system: SessionSystem) -> str:
    """Return the one that the sync worker finds."""
    async with asyncio.timeout(PATIENCE):
        while not (found := await system.suggest_links()):
            await asyncio.sleep(0.005)
    return found[0].suggestion_id


async def place(system: SessionSystem, who: str, state: str, row: Row) -> Place:
    """Make what a call is about; of what is missing nothing is made."""
    if state == "missing":
        now = datetime.now(UTC)
        context = SessionContext(session_id=NONE, created_at=now, last_activity=now, data={"a": 1})
        return Place(
            session=NONE,
            other=NONE,
            checkpoint="missing",
            identity="missing",
            suggestion="missing",
            context=context,
            token=1,
        )
    session, other = await made(system, who), await made(system, who)
    await system.save_template("kept")
    at = Place(
        session=session.session_id,
        other=other.session_id,
        checkpoint=await system.save_checkpoint(session.session_id, {"a": 1}),
        identity="ann",
        suggestion=await suggestion(system) if row.syncs else "none",
        context=session,
        token=await system.acquire_lock(session.session_id),
    )
    if row.syncs:
        await system.link_identities("ann", [session.session_id, other.session_id], "Ann")
    if state == "deleted":
        for one in (session, other):
            await system.delete_session(one.session_id)
    return at


@sampled("state")
@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("name", ROWS)
async def test_a_call(name: str, who: str, state: str) -> None:
    row, (user, right) = ROWS[name], WHO[who]
    config = make_config(
        enable_sync=row.syncs,
        enable_tracking=row.tracks,
        enable_persistence=row.persists,
        backup_dir="memory://matrix" if row.persists else None,
        enable_cleanup=False,
        partitions=4,
    )
    async with SessionSystem(config) as system:
        at = await place(system, who, state, row)
        if user is None or (state == "present" and right >= row.right):
            await allowed(system, at, user, row, state)
        elif state == "deleted" and row.deleted is not None and right >= row.right:
            assert await row.call(system, at, user) == row.deleted
        elif row.refuses:
            with pytest.raises(AccessDenied) as refused:
                await row.call(system, at, user)
            assert str(refused.value) == WORDS
        elif not (row.missing is ... and right >= row.right):
            assert await row.call(system, at, user) == row.hidden


async def allowed(system: SessionSystem, at: Place, user: Any, row: Row, state: str) -> None:
    """See that a call is carried out, or says what is not there."""
    expected = row.gone if state == "deleted" and row.gone is not SAME else row.missing
    if state == "present" or expected is ...:
        await row.call(system, at, user)
    elif isinstance(expected, type) and issubclass(expected, Exception):
        with pytest.raises(expected):
            await row.call(system, at, user)
    else:
        assert await row.call(system, at, user) == expected


def test_every_call_has_its_row() -> None:
    rowed = {name.partition(" ")[0] for name in ROWS}
    assert rowed | APART.keys() == CALLS.keys()
    assert rowed & APART.keys() == set()


def test_a_call_that_names_one_is_checked_and_has_a_row() -> None:
    for name, call in CALLS.items():
        takes = set(inspect.signature(call).parameters)
        if takes & NAMES_ONE:
            assert name not in APART, f"{name} is about one session or identity: it needs a row"
            assert takes & CHECKED, f"{name} can't be checked: it takes no user_id"
