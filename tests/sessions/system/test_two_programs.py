"""Two programs that embed AgentBus on one store: what one holds in memory never stands against what the other wrote."""

from collections.abc import AsyncIterator, Collection
from pathlib import Path
from typing import Any

import pytest

from agentbus.contracts.errors import SessionNotFound
from agentbus.contracts.ids import ConversationId
from agentbus.sessions import SessionSystem, SessionSystemConfig
from agentbus.storage.port import Loaded
from agentbus.storage.sql.log import SqlLog


def system(folder: Path) -> SessionSystem:
    where = {"db_path": str(folder / "store.db")}
    return SessionSystem(SessionSystemConfig(storage_type="database", storage_config=where, enable_cleanup=False))


@pytest.fixture
async def one(tmp_path: Path) -> AsyncIterator[SessionSystem]:
    async with system(tmp_path) as running:
        yield running


@pytest.fixture
async def other(tmp_path: Path) -> AsyncIterator[SessionSystem]:
    async with system(tmp_path) as running:
        yield running


async def texts(of: SessionSystem, session_id: str) -> list[str]:
    return [said.content for said in (await of.get_session_messages(session_id)).items]


async def test_what_two_say_by_turns_is_kept_in_that_order(one: SessionSystem, other: SessionSystem) -> None:
    session = (await one.create_session("lobby", "ann")).session_id
    for number in range(12):
        await (other if number % 3 == 2 else one).add_message(session, "ann", "user", str(number))
    assert await texts(one, session) == await texts(other, session) == [str(number) for number in range(12)]


async def test_a_session_that_the_other_one_ended_takes_no_more(one: SessionSystem, other: SessionSystem) -> None:
    session = (await one.create_session("lobby", "ann")).session_id
    await one.add_message(session, "ann", "user", "hello")
    await other.close_session(session)
    with pytest.raises(SessionNotFound, match="is closed"):
        await one.add_message(session, "ann", "user", "is anybody there?")
    await other.delete_session(session)
    with pytest.raises(SessionNotFound):
        await one.update_session_metadata(session, {"read": True})


async def test_a_session_that_the_other_one_began_is_known(one: SessionSystem, other: SessionSystem) -> None:
    first = (await one.create_session("lobby", "ann")).session_id
    await one.close_session(first)
    second = (await other.create_session("lobby", "ann")).session_id
    await one.add_message(second, None, "assistant", "hello")
    assert await texts(other, second) == ["hello"]


async def test_who_is_alone_on_a_store_loads_nothing_again(one: SessionSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    session = (await one.create_session("lobby", "ann")).session_id
    loads: list[Collection[ConversationId]] = []
    load = SqlLog.load

    async def counted(self: Any, conversations: Collection[ConversationId]) -> dict[ConversationId, Loaded]:
        loads.append(conversations)
        return await load(self, conversations)

    monkeypatch.setattr(SqlLog, "load", counted)
    for number in range(3):
        await one.add_message(session, "ann", "user", str(number))
    assert loads == []
    assert await texts(one, session) == ["0", "1", "2"]
