"""One person on several channels: links, codes, suggestions, policies, conflicts."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from agentbus.sessions import (
    ClaimCode,
    Conflict,
    ConflictStrategy,
    FeatureNotEnabled,
    Identity,
    IdentityConflict,
    MemorySessionStore,
    SchemaViolation,
    SessionSystem,
    Suggestion,
    SuggestionNotFound,
    SyncMode,
    SyncNote,
    SyncOperation,
    SyncPolicy,
    SyncReport,
    create_session_sync,
)
from tests.harness.clock import later
from tests.harness.patience import PATIENCE
from tests.tour.registry import shows
from tests.tour.world import World


@asynccontextmanager
async def synced(world: World) -> AsyncIterator[SessionSystem]:
    async with world.another(enable_sync=True) as system:
        yield system


async def two_chats(world: World, system: SessionSystem) -> list[str]:
    """Begin a session on each of two channels."""
    made = [await system.create_session(world.name("chat"), world.name(), one) for one in ("telegram", "slack")]
    return [one.session_id for one in made]


async def two_linked(world: World, system: SessionSystem, **policy: Any) -> tuple[str, list[str]]:
    """Link two sessions to an identity that has a policy of its own."""
    key = world.name("person")
    await system.set_sync_policy(SyncPolicy(**policy), key)
    sessions = await two_chats(world, system)
    await system.link_identities(key, sessions)
    return key, sessions


async def until(happened: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await happened():
            await asyncio.sleep(0.02)


async def set_data(system: SessionSystem, session_id: str, **values: Any) -> None:
    session = await system.get_session(session_id)
    assert session is not None
    for key, value in values.items():
        session.set_data(key, value)
    await system.update_session(session)


async def data_of(system: SessionSystem, session_id: str) -> dict[str, Any]:
    session = await system.get_session(session_id)
    assert session is not None
    return dict(session.data)


async def in_conflict(world: World, system: SessionSystem) -> tuple[str, list[str]]:
    """Let two linked sessions write the same field without having seen each other, Rome later than Paris."""
    key, sessions = await two_linked(world, system, mode=SyncMode.MANUAL, strategy=ConflictStrategy.MANUAL)
    for session, city in zip(sessions, ("Paris", "Rome"), strict=True):
        await set_data(system, session, city=city)
        await later()
    report = await system.sync_sessions(sessions[0])
    assert [one.conflicts for one in report.sessions] == [1]
    return key, sessions


@shows("SessionSystem.link_identities")
async def show_link_identities(world: World) -> None:
    async with synced(world) as system:
        _, (one, other) = await two_linked(world, system)
        await set_data(system, one, city="Paris")

        async def arrived() -> bool:
            return await data_of(system, other) == {"city": "Paris"}

        await until(arrived)
    with pytest.raises(FeatureNotEnabled, match="enable_sync"):
        await world.manager.link_identities("somebody", [one])


@shows("SessionSystem.unlink_identity")
async def show_unlink_identity(world: World) -> None:
    async with synced(world) as system:
        key, (one, other) = await two_linked(world, system)
        assert await system.unlink_identity(other) == key
        assert await system.unlink_identity(other) is None
        found = await system.get_identity(key)
        assert found is not None
        assert found.session_ids == (one,)


@shows("SessionSystem.get_identity")
async def show_get_identity(world: World) -> None:
    async with synced(world) as system:
        key, sessions = await two_linked(world, system)
        found = await system.get_identity(key)
        assert found is not None
        assert set(found.session_ids) == set(sessions)
        assert await system.get_identity(world.name()) is None


@shows("SessionSystem.get_session_identity")
async def show_get_session_identity(world: World) -> None:
    async with synced(world) as system:
        key, sessions = await two_linked(world, system)
        found = await system.get_session_identity(sessions[0])
        assert found is not None
        assert found.identity_key == key
        assert await system.get_session_identity((await two_chats(world, system))[0]) is None


@shows("SessionSystem.sync_sessions")
async def show_sync_sessions(world: World) -> None:
    async with synced(world) as system:
        _, (one, other) = await two_linked(world, system, mode=SyncMode.MANUAL)
        await set_data(system, one, city="Paris")
        report = await system.sync_sessions(one)
        assert [(synced.session_id, synced.changed) for synced in report.sessions] == [(other, True)]
        assert await data_of(system, other) == {"city": "Paris"}


@shows("SessionSystem.create_claim_code")
async def show_create_claim_code(world: World) -> None:
    async with synced(world) as system:
        one, other = await two_chats(world, system)
        made = await system.create_claim_code(one)
        writer = await system.get_session(other)
        assert writer is not None
        await system.add_message(other, writer.user_id, "user", f"/link {made.code}")

        async def linked() -> bool:
            found = await system.get_session_identity(one)
            return found is not None and set(found.session_ids) == {one, other}

        await until(linked)


@shows("SessionSystem.suggest_links")
async def show_suggest_links(world: World) -> None:
    async with synced(world) as system:
        assert set((await suggested(world, system)).session_ids) != set()


async def suggested(world: World, system: SessionSystem) -> Suggestion:
    """Begin two sessions whose users have the same verified address; return the suggestion to link them."""
    address = f"{world.name()}@example.org"
    wanted: set[str] = set()
    for platform in ("telegram", "slack"):
        metadata = {"verified_email": address}
        made = await system.create_session(world.name("chat"), world.name(), platform, metadata=metadata)
        wanted.add(made.session_id)
    found: list[Suggestion] = []

    async def there() -> bool:
        found[:] = [one for one in await system.suggest_links() if set(one.session_ids) == wanted]
        return bool(found)

    await until(there)
    return found[0]


@shows("SessionSystem.confirm_link")
async def show_confirm_link(world: World) -> None:
    async with synced(world) as system:
        suggestion = await suggested(world, system)
        linked = await system.confirm_link(suggestion.suggestion_id)
        assert set(linked.session_ids) == set(suggestion.session_ids)


@shows("SessionSystem.dismiss_link")
async def show_dismiss_link(world: World) -> None:
    async with synced(world) as system:
        suggestion = await suggested(world, system)
        await system.dismiss_link(suggestion.suggestion_id)
        assert suggestion not in await system.suggest_links()


@shows("SessionSystem.list_conflicts")
async def show_list_conflicts(world: World) -> None:
    async with synced(world) as system:
        key, (_, other) = await in_conflict(world, system)
        ((session, (conflict,)),) = (await system.list_conflicts(key)).items
        assert (session, conflict.field, conflict.offered.value) == (other, "/data/city", "Paris")


@shows("SessionSystem.resolve_session_conflicts")
async def show_resolve_session_conflicts(world: World) -> None:
    async with synced(world) as system:
        key, sessions = await in_conflict(world, system)
        resolved = await system.resolve_session_conflicts(sessions, ConflictStrategy.LATEST_WINS)
        assert [one.field for one in resolved] == ["/data/city"]

        async def settled() -> bool:
            found = [await data_of(system, session) for session in sessions]
            return found == [{"city": "Rome"}] * 2 and not (await system.list_conflicts(key)).items

        await until(settled)


@shows("SessionSystem.get_sync_history")
async def show_get_sync_history(world: World) -> None:
    async with synced(world) as system:
        key, (one, other) = await two_linked(world, system, mode=SyncMode.MANUAL)
        await later()  # than the link, which the history tells of too
        await set_data(system, one, city="Paris")
        await system.sync_sessions(one)
        newest = (await system.get_sync_history(identity_key=key)).items[0]
        assert (newest.action, newest.session_id, newest.source) == ("context_merged", other, one)
        assert len((await system.get_sync_history(one)).items) == 1


@shows("SessionSystem.get_sync_policy")
async def show_get_sync_policy(world: World) -> None:
    async with synced(world) as system:
        assert await system.get_sync_policy(world.name()) == await system.get_sync_policy() == SyncPolicy()


@shows("SessionSystem.set_sync_policy")
async def show_set_sync_policy(world: World) -> None:
    async with synced(world) as system:
        key, policy = world.name(), SyncPolicy(data=("profile",), metadata=("lang*",), history=True)
        await system.set_sync_policy(policy, key)
        assert await system.get_sync_policy(key) == policy
        await system.set_sync_policy(None, key)
        assert await system.get_sync_policy(key) == SyncPolicy()


@shows("ClaimCode")
async def show_claim_code(world: World) -> None:
    async with synced(world) as system:
        session = (await two_chats(world, system))[0]
        made = await system.create_claim_code(session, valid_for=60)
        assert isinstance(made, ClaimCode)
        assert (made.session_id, len(made.code)) == (session, 29)


@shows("Conflict")
async def show_conflict(world: World) -> None:
    async with synced(world) as system:
        key, sessions = await in_conflict(world, system)
        ((_, (conflict,)),) = (await system.list_conflicts(key)).items
        assert isinstance(conflict, Conflict)
        assert conflict.held is not None
        assert (conflict.held.value, conflict.source) == ("Rome", sessions[0])


@shows("ConflictStrategy")
async def show_conflict_strategy(world: World) -> None:
    async with synced(world) as system:
        for strategy in ConflictStrategy:
            _, (one, other) = await two_linked(
                world, system, mode=SyncMode.MANUAL, strategy=strategy, priority=("telegram",)
            )
            await set_data(system, one, home={"city": "Paris"})
            await later()
            await set_data(system, other, home={"street": "Via"})
            await system.sync_sessions(one)
            assert (
                await data_of(system, other)
                == {
                    ConflictStrategy.LATEST_WINS: {"home": {"street": "Via"}},
                    ConflictStrategy.SOURCE_PRIORITY: {"home": {"city": "Paris"}},
                    ConflictStrategy.MERGE: {"home": {"city": "Paris", "street": "Via"}},
                    ConflictStrategy.MANUAL: {"home": {"city": "Paris", "street": "Via"}},
                }[strategy]
            )


@shows("Identity")
async def show_identity(world: World) -> None:
    async with synced(world) as system:
        session = (await two_chats(world, system))[0]
        made = await system.link_identities(world.name(), [session], "Ann Example")
        assert isinstance(made, Identity)
        assert (made.display_name, made.session_ids) == ("Ann Example", (session,))


@shows("IdentityConflict")
async def show_identity_conflict(world: World) -> None:
    async with synced(world) as system:
        key, sessions = await two_linked(world, system)
        with pytest.raises(IdentityConflict, match=key):
            await system.link_identities(world.name(), sessions)


@shows("Suggestion")
async def show_suggestion(world: World) -> None:
    async with synced(world) as system:
        suggestion = await suggested(world, system)
        assert isinstance(suggestion, Suggestion)
        assert suggestion.reason == "verified_email"


@shows("SuggestionNotFound")
async def show_suggestion_not_found(world: World) -> None:
    async with synced(world) as system:
        with pytest.raises(SuggestionNotFound):
            await system.confirm_link("nothing")


@shows("SyncMode")
async def show_sync_mode(world: World) -> None:
    async with synced(world) as system:
        for mode in SyncMode:
            _, (one, other) = await two_linked(world, system, mode=mode, delay=0.1, interval=0.1)
            await set_data(system, one, mode=mode)
            if mode is SyncMode.MANUAL:
                await system.sync_sessions(one)

            async def arrived(session: str = other, mode: SyncMode = mode) -> bool:
                return await data_of(system, session) == {"mode": mode}

            await until(arrived)


@shows("SyncNote")
async def show_sync_note(world: World) -> None:
    async with synced(world) as system:
        _, (one, _) = await two_linked(world, system)
        (note,) = (await system.get_sync_history(one)).items
        assert isinstance(note, SyncNote)
        assert (note.action, note.session_id) == ("identity_linked", one)


@shows("SyncOperation")
async def show_sync_operation(world: World) -> None:
    async with synced(world) as system:
        _, (one, other) = await two_linked(world, system, mode=SyncMode.MANUAL, operations=[SyncOperation.CREATE])
        for city in ("Paris", "Rome"):
            await set_data(system, one, city=city)
            await system.sync_sessions(one)
            assert await data_of(system, other) == {"city": "Paris"}


@shows("SyncPolicy")
async def show_sync_policy(world: World) -> None:
    async with synced(world) as system:
        _, (one, other) = await two_linked(world, system, mode=SyncMode.MANUAL, data=["pref_*"])
        await set_data(system, one, pref_theme="dark", city="Paris")
        await system.sync_sessions(one)
        assert await data_of(system, other) == {"pref_theme": "dark"}


@shows("SyncReport")
async def show_sync_report(world: World) -> None:
    async with synced(world) as system:
        session = (await two_chats(world, system))[0]
        report = await system.sync_sessions(session)
        assert isinstance(report, SyncReport)
        assert (report.source, report.identity, report.sessions) == (session, None, ())


@shows("create_session_sync")
async def show_create_session_sync(world: World) -> None:
    del world
    store = MemorySessionStore()
    sync = create_session_sync(store, {"mode": "manual", "data": ["city"]})
    async with store:
        assert await sync.get_sync_policy() == SyncPolicy(mode=SyncMode.MANUAL, data=("city",))
        data = {"city": "Paris", "mood": "good"}
        one = await store.create(chat_id="1", user_id="ann", platform="web", custom_data=data)
        other = await store.create(chat_id="2", user_id="ann", platform="slack")
        await sync.link_identities("ann", [one.session_id, other.session_id])
        await sync.sync_sessions(one.session_id)
        after = await store.get(other.session_id)
        assert after
        assert after.data == {"city": "Paris"}
    with pytest.raises(SchemaViolation, match="mode"):
        create_session_sync(MemorySessionStore(), {"mode": "never"})
