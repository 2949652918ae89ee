"""Sessions, links and syncs as an operator handles them, and what is said when it can't be done."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from agentbus.composition.app import App, make_bus, make_clock
from agentbus.composition.running import embedded
from agentbus.contracts.errors import (
    AgentBusError,
    IdentityConflict,
    SchemaViolation,
    SessionNotFound,
    StoreUnavailable,
)
from agentbus.contracts.history import Page, SessionFilter
from agentbus.contracts.ids import SessionId
from agentbus.contracts.session import SessionState, SessionStatus
from agentbus.contracts.sync import ConflictStrategy, Resolution, SyncMode, SyncPolicy
from agentbus.operations import identity, sessions, sync
from agentbus.operations.paging import InvalidCursor
from agentbus.operations.replay.running import HistoryFormat, ReplayStalled, replay_file
from agentbus.settings import load_settings
from agentbus.storage.memory import MemoryStore
from agentbus.storage.memory.heads import MemoryHeads
from agentbus.storage.port import Store
from tests.harness.builders import a_commit, a_conversation, a_head, appended
from tests.harness.conversations import message

NOBODY = SessionId("a" * 26 + ".1")
NO_ID = "no such thing"
SETTINGS = load_settings(amqp_url="memory://", store_url="memory://", partitions=4)
HELD = Resolution(take_offered=False)


@pytest.fixture
async def app() -> AsyncIterator[App]:
    """Give an AgentBus with its workers."""
    async with embedded(SETTINGS) as made:
        yield made


@pytest.fixture
async def store() -> AsyncIterator[MemoryStore]:
    async with MemoryStore() as made:
        yield made


def reading(store: Store) -> App:
    """Return what a command has that opens the store alone."""
    return App(settings=SETTINGS, bus=make_bus(SETTINGS), store=store, clock=make_clock())


async def session_in(store: Store, *, status: SessionStatus = SessionStatus.ACTIVE) -> SessionId:
    """Keep a session of one message and return its id."""
    conversation = a_conversation()
    await store.log.append([a_commit(conversation, 1, events=[appended(conversation, 1, "m")])])
    head = a_head(conversation, status=status).model_copy(update={"sequence": 1, "message_count": 1})
    await store.heads.save([head])
    return head.session_id


async def test_sessions_are_listed_shown_and_read(store: MemoryStore) -> None:
    kept = await session_in(store)
    assert [one.session_id for one in (await sessions.list_sessions(store)).items] == [kept]
    assert (await sessions.get_session(store, kept)).message_count == 1
    (message,) = (await sessions.session_history(store, kept)).items
    assert message.message.message_id == "m"


@pytest.mark.parametrize("operation", [sessions.get_session, sessions.session_history])
async def test_a_deleted_session_is_as_one_that_never_was(
    operation: Callable[[Store, SessionId], Awaitable[object]], store: MemoryStore
) -> None:
    deleted = await session_in(store, status=SessionStatus.DELETED)
    for one in (deleted, NOBODY):
        with pytest.raises(SessionNotFound, match="agentbus sessions list"):
            await operation(store, one)


async def test_a_cursor_of_another_list_is_refused(store: MemoryStore) -> None:
    kept = await session_in(store)
    with pytest.raises(InvalidCursor):
        await sessions.list_sessions(store, cursor="!")
    with pytest.raises(InvalidCursor):
        await sessions.session_history(store, kept, cursor="!")
    for listed in (
        sync.history_of_session(reading(store), kept, cursor="!"),
        sync.history_of_identity(reading(store), "ann", cursor="!"),
        sync.list_conflicts(reading(store), cursor="!"),
    ):
        with pytest.raises(InvalidCursor):
            await listed


class HeadsThatAreDown(MemoryHeads):
    async def get(self, session_id: SessionId) -> SessionState | None:
        raise StoreUnavailable(f"nobody answers for {session_id}")

    async def page(self, where: SessionFilter, **how: Any) -> Page[SessionState]:
        raise StoreUnavailable(f"nobody lists {where} {how}")


async def test_a_store_that_is_down_is_not_taken_for_one_without_sessions() -> None:
    async with MemoryStore() as store:
        store.heads = HeadsThatAreDown()
        with pytest.raises(StoreUnavailable):
            await sessions.list_sessions(store)
        with pytest.raises(StoreUnavailable):
            await sessions.get_session(store, NOBODY)
        with pytest.raises(StoreUnavailable):
            await identity.issue_code(reading(store), NOBODY)


async def test_nobody_unblocks_a_session_that_is_not_there(app: App) -> None:
    with pytest.raises(SessionNotFound):
        await sessions.unblock_session(app.bus, NOBODY, scope=SETTINGS.session.scope)


async def test_sessions_are_linked_shown_and_unlinked_by_their_owners(app: App) -> None:
    one, two = await session_in(app.store), await session_in(app.store)
    linked = await identity.link_sessions(app, "ann", [one, two], "Ann")
    assert set(linked.session_ids) == {one, two}
    assert (await identity.get_identity(app, "ann")).display_name == "Ann"
    assert await identity.identity_of(app, two) == linked
    with pytest.raises(IdentityConflict):
        await identity.link_sessions(app, "bob", [one])
    assert (await sync.sync_session(app, one)).identity == "ann"
    trail = (await sync.history_of_identity(app, "ann")).items
    assert {note.session_id for note in trail} == {one, two}
    assert set((await sync.history_of_session(app, one)).items) <= set(trail)
    assert await identity.unlink_session(app, one) == "ann"
    assert await identity.unlink_session(app, one) is None
    with pytest.raises(SessionNotFound, match="linked to nobody"):
        await identity.identity_of(app, one)
    assert (await sync.sync_session(app, one)).identity is None


OF_A_SESSION: dict[str, Callable[[App, str], Awaitable[object]]] = {
    "link": lambda app, one: identity.link_sessions(app, "ann", [one]),
    "unlink": identity.unlink_session,
    "identity": identity.identity_of,
    "code": identity.issue_code,
    "sync": sync.sync_session,
    "resolve": lambda app, one: sync.resolve_conflicts(app, [one], HELD),
}


@pytest.mark.parametrize("name", OF_A_SESSION)
@pytest.mark.parametrize("session", [NOBODY, NO_ID])
async def test_a_session_that_is_not_there_is_said_before_anything_is_sent(
    name: str, session: str, store: MemoryStore
) -> None:
    with pytest.raises(SessionNotFound):
        await OF_A_SESSION[name](reading(store), session)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda app: identity.get_identity(app, "ann"), SessionNotFound),
        (lambda app: identity.link_sessions(app, "", [NOBODY]), SchemaViolation),
        (lambda app: identity.confirm_suggestion(app, "none"), AgentBusError),
        (lambda app: identity.dismiss_suggestion(app, "none"), AgentBusError),
        (lambda app: sync.history_of_session(app, NO_ID), SessionNotFound),
    ],
)
async def test_what_is_not_there_and_what_can_t_be_is_said(
    call: Callable[[App], Awaitable[object]], error: type[AgentBusError], store: MemoryStore
) -> None:
    with pytest.raises(error):
        await call(reading(store))


async def test_a_field_that_is_no_pointer_is_refused(app: App) -> None:
    kept = await session_in(app.store)
    with pytest.raises(SchemaViolation):
        await sync.resolve_conflicts(app, [kept], HELD, ["city"])
    assert list(await sync.resolve_conflicts(app, [kept], HELD)) == []


async def test_a_policy_is_changed_in_part_and_taken_away(store: MemoryStore) -> None:
    app = reading(store)
    changed = await sync.change_policy(app, "ann", {"mode": SyncMode.MANUAL})
    assert changed == SyncPolicy(mode=SyncMode.MANUAL)
    changed = await sync.change_policy(app, "ann", {"strategy": ConflictStrategy.MANUAL})
    assert (changed.mode, changed.strategy) == (SyncMode.MANUAL, ConflictStrategy.MANUAL)
    assert await sync.get_policy(app, "ann") == changed
    assert await sync.get_policy(app) == SyncPolicy()
    with pytest.raises(SchemaViolation, match="delay"):
        await sync.change_policy(app, "ann", {"delay": -1})
    assert await sync.get_policy(app, "ann") == changed
    assert await sync.forget_policy(app, "ann") == SyncPolicy()
    assert await sync.forget_policy(app, "ann") == SyncPolicy()


@pytest.fixture
def history(tmp_path: Path) -> Path:
    file = tmp_path / "history.jsonl"
    file.write_text("".join(f"{message(number).model_dump_json()}\n" for number in range(3)), "utf-8")
    return file


async def test_a_history_is_replayed_from_its_file_and_once_more_changes_nothing(app: App, history: Path) -> None:
    first = await replay_file(app, history)
    again = await replay_file(app, history, HistoryFormat.JSONL)
    assert (first.published, first.outcome.committed, first.outcome.lost) == (3, 3, 0)
    assert again.outcome == first.outcome


async def test_a_replay_that_nobody_takes_ends_by_saying_so(store: MemoryStore, history: Path) -> None:
    app = reading(store)
    async with app.bus:
        await app.bus.declare()
        with pytest.raises(ReplayStalled, match="agentbus worker session"):
            await replay_file(app, history, patience=0.01)


async def test_a_file_that_is_no_history_is_said(app: App, tmp_path: Path) -> None:
    file = tmp_path / "notes.jsonl"
    file.write_text("not a history", "utf-8")
    with pytest.raises(AgentBusError):
        await replay_file(app, file, HistoryFormat.JSONL)
