"""Who may link, look up and unlink: the owner of all that is linked, or whoever proves it by a code."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import pytest

from agentbus.contracts.sync import SyncPolicy
from agentbus.sessions import (
    AccessDenied,
    IdentityConflict,
    SessionNotFound,
    SessionSystem,
    Suggestion,
    SuggestionNotFound,
)
from agentbus.sessions.config import make_config
from agentbus.sessions.features import SYNC
from tests.harness.patience import PATIENCE

T = TypeVar("T")
NO_SESSION = "a" * 26 + ".1"


@pytest.fixture
async def system() -> AsyncIterator[SessionSystem]:
    """Start a system in memory that syncs."""
    async with SessionSystem(make_config(enable_sync=True, enable_cleanup=False, partitions=8)) as started:
        yield started


async def of_ann(system: SessionSystem) -> list[str]:
    """Make two sessions of Ann's that are linked."""
    sessions = [await system.create_session("chat", "ann", platform) for platform in ("web", "slack")]
    ids: list[str] = [one.session_id for one in sessions]
    await system.link_identities("ann", ids, "Ann", user_id="ann")
    return ids


async def until(look: Callable[[], Awaitable[T | None]]) -> T:
    """Wait until the sync worker has come to what there is to find."""
    async with asyncio.timeout(PATIENCE):
        while (found := await look()) is None:
            await asyncio.sleep(0.01)
    return found


async def suggestions(system: SessionSystem, number: int) -> list[Suggestion] | None:
    found = await system.suggest_links()
    return found if len(found) == number else None


async def test_a_stranger_links_nothing_to_somebodys_identity(system: SessionSystem) -> None:
    first, second = await of_ann(system)
    await system.share_session(first, "ann", "eve", "write")
    hers = await system.create_session("chat", "eve", "telegram")

    for sessions in ([hers.session_id], [], [first], [NO_SESSION], ["no id"]):
        with pytest.raises(AccessDenied):
            await system.link_identities("ann", sessions, "Eve", user_id="eve")
    with pytest.raises(AccessDenied):
        await system.link_identities("eve", [hers.session_id, second], "Eve", user_id="eve")

    kept = await system.get_identity("ann")
    assert kept is not None
    assert (kept.display_name, set(kept.session_ids)) == ("Ann", {first, second})
    assert await system.get_identity("eve") is None
    assert await system.get_session_identity(hers.session_id) is None


async def test_of_two_who_choose_one_key_at_once_neither_gets_the_others(
    system: SessionSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    anns = await system.create_session("chat", "ann", "web")
    eves = await system.create_session("chat", "eve", "web")
    identities = system._calls(SYNC)._services.identities
    link = identities.link_conversation

    async def late(*args: object, **kwargs: object) -> None:
        """Have Ann link hers after Eve has looked, and before Eve links."""
        monkeypatch.setattr(identities, "link_conversation", link)
        await identities.link("key", [anns.session_id], actor="ann")
        await link(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(identities, "link_conversation", late)
    with pytest.raises(AccessDenied):
        await system.link_identities("key", [eves.session_id], user_id="eve")

    kept = await system.get_identity("key")
    assert kept is not None
    assert kept.session_ids == (anns.session_id,)


async def test_a_code_links_what_has_other_owners(system: SessionSystem) -> None:
    home = await system.create_session("chat", "ann", "web")
    phone = await system.create_session("chat", "ann-2", "whatsapp")
    with pytest.raises(AccessDenied):
        await system.link_identities("ann", [home.session_id, phone.session_id], user_id="ann")
    code = await system.create_claim_code(home.session_id, user_id="ann")
    await system.add_message(phone.session_id, "ann-2", "user", f"/link {code.code}")

    linked = await until(lambda: system.get_session_identity(phone.session_id))
    assert phone.session_id in linked.session_ids
    assert set(linked.session_ids) <= {home.session_id, phone.session_id}


Call = Callable[[SessionSystem, str], Awaitable[object]]


async def test_what_is_missing_and_what_is_not_theirs_is_refused_alike(system: SessionSystem) -> None:
    first, _ = await of_ann(system)
    alone = (await system.create_session("other", "ann", "web")).session_id
    calls: dict[str, Call] = {
        "link": lambda s, one: s.link_identities("eve", [one], user_id="eve"),
        "unlink": lambda s, one: s.unlink_identity(one, user_id="eve"),
        "resolve": lambda s, one: s.resolve_session_conflicts([one], "latest_wins", user_id="eve"),
        "identity": lambda s, one: s.get_session_identity(one, user_id="eve"),
        "history": lambda s, one: s.get_sync_history(one, user_id="eve"),
        "sync": lambda s, one: s.sync_sessions(one, user_id="eve"),
        "code": lambda s, one: s.create_claim_code(one, user_id="eve"),
    }
    for call in calls.values():
        words = set()
        for session in (first, alone, NO_SESSION, "no id"):
            with pytest.raises(AccessDenied) as refused:
                await call(system, session)
            words.add(str(refused.value))
        assert len(words) == 1
    by_key: dict[str, Call] = {
        "identity": lambda s, key: s.get_identity(key, user_id="eve"),
        "history": lambda s, key: s.get_sync_history(identity_key=key, user_id="eve"),
        "policy": lambda s, key: s.get_sync_policy(key, user_id="eve"),
        "set policy": lambda s, key: s.set_sync_policy(SyncPolicy(), key, user_id="eve"),
        "confirm": lambda s, key: s.confirm_link(key, user_id="eve"),
        "dismiss": lambda s, key: s.dismiss_link(key, user_id="eve"),
    }
    for call in by_key.values():
        for key in ("ann", "nobody"):
            with pytest.raises(AccessDenied):
                await call(system, key)


async def test_the_owner_unlinks_by_an_earlier_session_once_the_latest_is_deleted(system: SessionSystem) -> None:
    first, second = await of_ann(system)
    latest = (await system.create_session("chat", "ann", "web")).session_id
    await system.delete_session(latest, user_id="ann")

    for session, user in ((first, "eve"), (latest, "ann")):
        with pytest.raises(AccessDenied):
            await system.unlink_identity(session, user_id=user)
    assert await system.unlink_identity(first, user_id="ann") == "ann"
    await system.create_session("chat", "ann", "web")
    linked = await system.get_identity("ann")
    assert linked is not None
    assert linked.session_ids == (second,)


@pytest.mark.parametrize(("user", "refusal"), [("ann", AccessDenied), (None, SessionNotFound)])
async def test_nothing_is_linked_if_the_latest_session_of_one_is_deleted(
    system: SessionSystem, user: str | None, refusal: type[Exception]
) -> None:
    other, first, latest = [
        (await system.create_session("chat", "ann", platform)).session_id for platform in ("web", "slack", "slack")
    ]
    await system.delete_session(latest)
    with pytest.raises(refusal):
        await system.link_identities("ann", [other, first], "Ann", user_id=user)
    assert await system.get_identity("ann") is None
    assert await system.get_session_identity(other) is None


async def test_the_owner_may(system: SessionSystem) -> None:
    first, second = await of_ann(system)
    for found in (
        await system.get_identity("ann", user_id="ann"),
        await system.get_session_identity(first, user_id="ann"),
    ):
        assert found is not None
        assert set(found.session_ids) == {first, second}
    assert len(await system.get_sync_history(identity_key="ann", user_id="ann")) == 2
    assert len(await system.get_sync_history(second, user_id="ann")) == 1
    await system.set_sync_policy(SyncPolicy(), "ann", user_id="ann")
    assert await system.get_sync_policy("ann", user_id="ann") == SyncPolicy()
    assert (await system.sync_sessions(first, user_id="ann")).identity == "ann"
    assert not await system.list_conflicts("ann", user_id="ann")
    with pytest.raises(IdentityConflict):
        await system.link_identities("other", [first], user_id="ann")
    assert await system.unlink_identity(first, user_id="ann") == "ann"


async def test_suggestions_are_for_the_owner_of_both(system: SessionSystem) -> None:
    for user, platform in (("ann", "web"), ("ann", "slack"), ("eve", "web")):
        await system.create_session("chat", user, platform, metadata={"handle": "@ann"})

    everything = await until(lambda: suggestions(system, 3))
    [anns] = await system.suggest_links(user_id="ann")
    assert await system.suggest_links(user_id="eve") == []
    [other, _] = [one for one in everything if one.suggestion_id != anns.suggestion_id]
    with pytest.raises(AccessDenied):
        await system.dismiss_link(other.suggestion_id, user_id="eve")
    await system.dismiss_link(anns.suggestion_id, user_id="ann")
    with pytest.raises(SuggestionNotFound):
        await system.dismiss_link(anns.suggestion_id)
    with pytest.raises(AccessDenied):
        await system.confirm_link(anns.suggestion_id, user_id="ann")
