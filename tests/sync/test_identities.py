"""Identities: linking, unlinking, looking up, and the trail that is left."""

from datetime import timedelta

import pytest

from agentbus.contracts.address import Platform
from agentbus.contracts.commands import CloseSession, LinkIdentity, SetMetadata
from agentbus.contracts.errors import IdentityConflict, SessionNotFound
from agentbus.contracts.history import Page
from agentbus.contracts.ids import SessionId
from agentbus.contracts.records import RecordKind
from agentbus.workers.sync.people.suggestions import SuggestionNotFound
from agentbus.workers.sync.people.trail import SyncNote, sync_history
from tests.sync.world import PLATFORMS, World


async def test_sessions_are_linked_looked_up_and_unlinked(world: World) -> None:
    identities = world.sync.identities
    first, second, third = [await world.talk(platform) for platform in PLATFORMS[:3]]
    await identities.link("ann", [first, second], "Ann Example")
    linked = await identities.link("ann", [third])
    assert (linked.identity_key, linked.display_name) == ("ann", "Ann Example")
    assert set(linked.session_ids) == {first, second, third}
    assert await identities.of_session(second) == linked
    assert await identities.unlink(second) == "ann"
    assert await identities.unlink(second) is None
    assert set((await identities.get("ann")).session_ids) == {first, third}
    assert await identities.of_session(second) is None
    assert (await identities.get("nobody")).session_ids == ()


async def test_linking_again_changes_nothing(world: World) -> None:
    sessions = await world.people(2)
    await world.sync.identities.link("ann", sessions)
    await world.settle()
    assert world.counts()["identity_linked"] == 2


async def test_nobody_is_linked_if_one_can_not_be(world: World) -> None:
    first, second = await world.people(2)
    third = await world.talk(Platform.WEB)
    with pytest.raises(IdentityConflict, match="ann"):
        await world.sync.identities.link("bob", [third, first])
    with pytest.raises(SessionNotFound):
        await world.sync.identities.link("bob", [third, SessionId("a" * 26 + ".1")])
    assert (await world.head(third)).identity is None
    await world.reset(second)
    with pytest.raises(IdentityConflict):
        await world.sync.identities.link("bob", [second])


async def test_a_link_is_the_conversations_and_goes_on_in_its_next_session(world: World) -> None:
    first, second = await world.people(2)
    newer = await world.reset(second)
    assert set((await world.sync.identities.get("ann")).session_ids) == {first, newer}
    await world.ask(CloseSession(session_id=newer))
    assert set((await world.sync.identities.get("ann")).session_ids) == {first, newer}
    assert (await world.talk(PLATFORMS[1])).endswith(".3")
    await world.sync.identities.unlink(SessionId(f"{newer.partition('.')[0]}.3"))
    assert set((await world.sync.identities.get("ann")).session_ids) == {first}


async def test_an_earlier_session_stands_for_its_conversation(world: World) -> None:
    first, second = await world.talk(Platform.TELEGRAM), await world.talk(Platform.SLACK)
    newer = await world.reset(first)
    linked = await world.sync.identities.link("ann", [first, second])
    assert set(linked.session_ids) == {newer, second}
    assert await world.sync.identities.of_session(first) == linked
    assert await world.sync.identities.unlink(first) == "ann"
    assert (await world.head(newer)).identity is None


async def test_unlinking_stops_sync_at_once_also_of_what_is_under_way(world: World) -> None:
    first, second, third = await world.people(3)
    await world.write(first, city="Paris")
    await world.write(second, name="Ann")
    await world.quiet()
    await world.sync.identities.unlink(first)
    await world.settle(1)
    assert await world.data(first, second, third) == [{"city": "Paris"}, {"name": "Ann"}, {"name": "Ann"}]
    await world.write(first, city="Rome")
    await world.write(second, name="Bea")
    await world.settle(2)
    assert await world.data(first, second, third) == [{"city": "Rome"}, {"name": "Bea"}, {"name": "Bea"}]


async def test_what_was_removed_while_unlinked_does_not_come_back_with_the_link(world: World) -> None:
    first, second = await world.people(2)
    await world.write(first, card="4111", city="Rome")
    await world.settle(1)
    await world.sync.identities.unlink(first)
    await world.write(first, ("card",))
    await world.write(second, ("city",))
    await world.settle(2)
    assert await world.data(first, second) == [{"city": "Rome"}, {"card": "4111"}]
    await world.sync.identities.link("ann", [first, second])
    await world.settle(3)
    assert await world.data(first, second) == [{}, {}]


async def test_a_session_that_was_unlinked_and_reset_is_not_reached_by_its_earlier_one(world: World) -> None:
    first, second = await world.people(2)
    await world.write(second, city="Paris")
    newer = await world.reset(second)
    await world.sync.identities.unlink(newer)
    await world.settle(3)
    assert await world.data(first, newer) == [{}, {}]


async def test_who_is_linked_to_somebody_else_shares_with_them_alone(world: World) -> None:
    first, second = await world.people(2)
    bobs = await world.talk(Platform.WEB, user="bob")
    await world.sync.identities.unlink(second)
    await world.write(first, city="Paris")
    await world.sync.identities.link("bob", [bobs, second])
    await world.write(second, city="Rome")
    await world.settle(4)
    assert await world.data(first, second, bobs) == [{"city": "Paris"}, {"city": "Rome"}, {"city": "Rome"}]


async def test_an_ended_session_gets_nothing_and_its_last_words_are_passed_on(world: World) -> None:
    first, second = await world.people(2)
    await world.write(first, city="Paris")
    await world.ask(CloseSession(session_id=first))
    await world.settle()
    assert await world.data(second) == [{"city": "Paris"}]
    await world.write(second, city="Rome")
    await world.settle()
    assert await world.data(first) == [{"city": "Paris"}]


async def test_all_live_sessions_are_found_among_many_that_ended(world: World) -> None:
    first, second = await world.people(2)
    for _ in range(60):
        first = await world.reset(first)
        world.clock.advance(timedelta(seconds=1))
    await world.settle()
    await world.write(first, city="Paris")
    await world.settle()
    assert await world.data(second) == [{"city": "Paris"}]


async def test_the_history_says_who_when_what_and_from_where(world: World) -> None:
    first, second = await world.people(2)
    await world.ask(LinkIdentity(session_id=first, identity="ann", actor="ann"))
    await world.write(first, city="Paris", name="Ann")
    await world.settle()
    await world.sync.identities.unlink(second)
    await world.settle()
    conversations = await world.sync.identities.conversations("ann")
    page = await sync_history(world.store, conversations)
    told = [(note.action, note.session_id, note.source, note.fields) for note in page.items]
    assert told[:2] == [
        ("identity_unlinked", second, None, ()),
        ("context_merged", second, first, ("/data/city", "/data/name")),
    ]
    assert sorted(told[2:]) == sorted([("identity_linked", first, None, ()), ("identity_linked", second, None, ())])
    assert {note.identity for note in page.items} == {"ann"}
    assert page.cursor is None or (await sync_history(world.store, conversations, cursor=page.cursor)).items == ()


async def test_the_history_is_paged_across_conversations(world: World) -> None:
    sessions = await world.people(3)
    for number in range(9):
        await world.write(sessions[number % 3], count=number)
        await world.settle()
        if number == 4:
            sessions[0] = await world.reset(sessions[0])
            await world.settle()
    conversations = await world.sync.identities.conversations("ann")
    whole = (await sync_history(world.store, conversations, limit=1000)).items
    found: list[SyncNote] = []
    page: Page[SyncNote] = await sync_history(world.store, conversations, limit=2)
    found += page.items
    while page.cursor:
        page = await sync_history(world.store, conversations, limit=2, cursor=page.cursor)
        found += page.items
    assert len(whole) > 15
    assert tuple(found) == whole
    assert [note.at for note in whole] == sorted((note.at for note in whole), reverse=True)


@pytest.mark.parametrize("cursor", ["nonsense", "WyJhdWRpdCIsMV0", "WyJhdWRpdCIsIntcInhcIjoxfSJd"])
async def test_a_cursor_that_was_not_given_out_is_refused(world: World, cursor: str) -> None:
    with pytest.raises(ValueError, match="not a cursor"):
        await sync_history(world.store, [], cursor=cursor)


async def test_the_same_contact_is_a_suggestion_until_somebody_confirms_it(world: World) -> None:
    first, second, third = [await world.talk(platform) for platform in PLATFORMS[:3]]
    await world.ask(SetMetadata(session_id=first, values={"verified_email": "Ann@Example.org "}))
    await world.ask(SetMetadata(session_id=second, values={"verified_email": "ann@example.org"}))
    await world.ask(SetMetadata(session_id=third, values={"verified_email": "bob@example.org"}))
    await world.settle(1)
    (suggestion,) = await world.sync.suggestions.listed()
    assert set(suggestion.session_ids) == {first, second}
    assert suggestion.reason == "verified_email"
    assert world.counts()["identity_linked"] == 0, "never by itself"
    identity = await world.sync.suggestions.confirm(suggestion.suggestion_id)
    assert set(identity.session_ids) == {first, second}
    assert await world.sync.suggestions.listed() == []
    with pytest.raises(SuggestionNotFound):
        await world.sync.suggestions.confirm(suggestion.suggestion_id)


@pytest.mark.parametrize(
    ("key", "one", "other", "same"),
    [
        ("verified_phone", "+49 170 1234567", "0049-170-1234567", True),
        ("verified_phone", "+49 170 1234567", "+49 170 1234568", False),
        ("handle", "@Ann", "ann", True),
        ("handle", "ann", "anna", False),
        ("handle", "", "", False),
        ("verified_email", 7, 7, False),
        ("verified_email", "none", "none", False),
        ("email", "ann@example.org", "ann@example.org", False),
    ],
)
async def test_contacts_are_compared_as_they_are_meant(
    world: World, key: str, one: object, other: object, same: bool
) -> None:
    for platform, value in ((Platform.TELEGRAM, one), (Platform.SLACK, other)):
        session = await world.talk(platform)
        await world.ask(SetMetadata.model_validate({"session_id": session, "values": {key: value}}))
    await world.settle()
    assert len(await world.sync.suggestions.listed()) == same


async def test_a_dismissed_suggestion_does_not_come_back(world: World) -> None:
    sessions = [await world.talk(platform) for platform in PLATFORMS[:2]]
    for session in sessions:
        await world.ask(SetMetadata(session_id=session, values={"handle": "ann"}))
    await world.settle(2)
    (suggestion,) = await world.sync.suggestions.listed()
    await world.sync.suggestions.dismiss(suggestion.suggestion_id)
    for session in sessions:
        await world.ask(SetMetadata(session_id=session, values={"handle": "Ann"}))
    await world.settle(3)
    assert await world.sync.suggestions.listed() == []


async def test_linked_sessions_and_contacts_of_everybody_are_not_suggested(world: World) -> None:
    linked = await world.people(2)
    for session in linked:
        await world.ask(SetMetadata(session_id=session, values={"handle": "ann"}))
    for number in range(25):
        session = await world.talk(Platform.WEB, user=f"guest {number}")
        await world.ask(SetMetadata(session_id=session, values={"handle": "guest"}))
        await world.settle() if number == 24 else None
    assert linked not in [list(one.session_ids) for one in await world.sync.suggestions.listed()]


async def test_a_contact_that_was_taken_back_counts_no_more_in_any_order(world: World) -> None:
    first = await world.talk(Platform.TELEGRAM)
    await world.ask(SetMetadata(session_id=first, values={"handle": "ann"}))
    await world.ask(SetMetadata(session_id=first, remove=("handle",)))
    await world.quiet()
    world.waiting.reverse()
    await world.settle()
    second = await world.talk(Platform.SLACK)
    await world.ask(SetMetadata(session_id=second, values={"handle": "ann"}))
    await world.settle()
    assert await world.sync.suggestions.listed() == []


async def test_what_is_kept_of_a_contact_can_not_be_read(world: World) -> None:
    session = await world.talk()
    await world.ask(SetMetadata(session_id=session, values={"verified_email": "ann@example.org"}))
    await world.settle()
    kept = [record.model_dump_json() for record in world.store.records._records.values()]
    assert any(RecordKind.CONTACT in record for record in kept)
    assert not any("example" in record for record in kept)
