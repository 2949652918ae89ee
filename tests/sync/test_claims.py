"""Claim codes: they link who sends them in time, once, and nobody else."""

from datetime import timedelta

import pytest

from agentbus.contracts.address import Platform
from agentbus.contracts.commands import CommandReply, DeleteSession, LinkIdentity
from agentbus.contracts.envelope import EventEnvelope, Input
from agentbus.contracts.errors import ConversationBlocked, IdentityConflict, Refused, ReplyTimeout, SessionNotFound
from agentbus.contracts.ids import SessionId, conversation_of
from agentbus.contracts.messages import Role, TextContent
from agentbus.contracts.records import RecordKind
from agentbus.workers.delivery.inputs import Inputs
from agentbus.workers.erasure.records import records_of_sessions
from agentbus.workers.sync.people.secret import Secret
from agentbus.workers.sync.services import make_sync_services
from tests.sync.world import World


async def answers(world: World, session: SessionId) -> list[str]:
    """Return what a session's user was told, and check that it went to their own chat."""
    told = [event.message for event in world.messages(session) if event.message.role is Role.ASSISTANT]
    own = (await world.head(session)).address
    assert all(message.address == own for message in told)
    return [message.content.text for message in told if isinstance(message.content, TextContent)]


async def linked(world: World, *sessions: SessionId) -> list[str | None]:
    return [(await world.head(session)).identity for session in sessions]


@pytest.fixture
async def telegram(world: World) -> SessionId:
    return await world.talk(Platform.TELEGRAM)


async def code_for(world: World, session: SessionId, *, valid_for: float = 600) -> str:
    return (await world.sync.claims.issue(session, valid_for=valid_for)).code


@pytest.mark.parametrize("form", ["{}", "/link {}", " {} "])
async def test_a_code_links_the_chat_it_is_sent_from(world: World, telegram: SessionId, form: str) -> None:
    await world.write(telegram, city="Paris")
    code = await code_for(world, telegram)
    slack = await world.talk(Platform.SLACK, form.format(code))
    await world.settle()
    one, other = await linked(world, telegram, slack)
    assert one is not None
    assert one == other
    assert await world.data(telegram, slack) == [{"city": "Paris"}] * 2
    assert await answers(world, slack) == ["This chat and the one that your code is from are now linked."]
    assert world.messages(telegram)[-1].message.role is Role.USER, "nobody was told anything there"
    identity = await world.sync.identities.get(one)
    assert set(identity.session_ids) == {telegram, slack}


async def test_the_issuers_identity_is_joined(world: World, telegram: SessionId) -> None:
    await world.sync.identities.link("ann", [telegram])
    slack = await world.talk(Platform.SLACK, await code_for(world, telegram))
    await world.settle()
    assert await linked(world, telegram, slack) == ["ann", "ann"]


async def test_the_claimants_identity_is_joined_if_the_issuer_has_none(world: World, telegram: SessionId) -> None:
    slack = await world.talk(Platform.SLACK)
    await world.sync.identities.link("ann", [slack])
    await world.talk(Platform.SLACK, await code_for(world, telegram))
    await world.settle()
    assert await linked(world, telegram, slack) == ["ann", "ann"]


async def test_two_identities_are_never_merged(world: World, telegram: SessionId) -> None:
    slack = await world.talk(Platform.SLACK)
    await world.sync.identities.link("ann", [telegram])
    await world.sync.identities.link("bob", [slack])
    await world.talk(Platform.SLACK, await code_for(world, telegram))
    await world.settle()
    assert await linked(world, telegram, slack) == ["ann", "bob"]
    assert "linked to somebody already" in (await answers(world, slack))[0]


async def test_a_code_is_good_for_its_time_alone(world: World, telegram: SessionId) -> None:
    code = await code_for(world, telegram, valid_for=60)
    world.clock.advance(timedelta(seconds=60))
    slack = await world.talk(Platform.SLACK, code)
    await world.settle()
    assert await linked(world, telegram, slack) == [None, None]
    assert "out of date" in (await answers(world, slack))[0]


async def test_a_code_sent_in_time_counts_however_late_it_is_heard(world: World, telegram: SessionId) -> None:
    slack = await world.talk(Platform.SLACK, await code_for(world, telegram, valid_for=60))
    world.clock.advance(timedelta(hours=1))
    await world.settle()
    assert None not in await linked(world, telegram, slack)


@pytest.mark.parametrize("place", [0, 8, 12, 23])
async def test_a_tampered_code_links_nobody(world: World, telegram: SessionId, place: int) -> None:
    code = list((await code_for(world, telegram)).replace("-", ""))
    code[place] = "A" if code[place] != "A" else "B"
    slack = await world.talk(Platform.SLACK, f"/link {''.join(code)}")
    await world.settle()
    assert await linked(world, telegram, slack) == [None, None]
    assert "not valid" in (await answers(world, slack))[0]


async def test_a_code_of_another_deployment_links_nobody(world: World, telegram: SessionId) -> None:
    other = make_sync_services(world.store, world.bus, Inputs(world.bus), clock=world.clock, claim_secret="another" * 5)
    slack = await world.talk(Platform.SLACK, (await other.claims.issue(telegram)).code)
    await world.settle()
    assert await linked(world, telegram, slack) == [None, None]


async def test_a_code_links_one_chat_only(world: World, telegram: SessionId) -> None:
    code = await code_for(world, telegram)
    slack = await world.talk(Platform.SLACK, code)
    await world.settle()
    stranger = await world.talk(Platform.DISCORD, code, user="mallory")
    await world.settle()
    assert None not in await linked(world, telegram, slack)
    assert await linked(world, stranger) == [None]
    assert "has been used" in (await answers(world, stranger))[0]


async def test_the_same_chat_may_send_it_again(world: World, telegram: SessionId) -> None:
    code = await code_for(world, telegram)
    slack = await world.talk(Platform.SLACK, code)
    await world.settle()
    await world.talk(Platform.SLACK, code)
    await world.settle()
    assert world.counts()["identity_linked"] == 2
    assert [text[:9] for text in await answers(world, slack)] == ["This chat"] * 2


async def test_a_code_is_not_good_once_more_when_whoever_used_it_is_erased(world: World, telegram: SessionId) -> None:
    code = await code_for(world, telegram)
    slack = await world.talk(Platform.SLACK, code)
    await world.settle()
    await world.sync.identities.unlink(telegram)
    await world.settle()
    records = [one async for one in records_of_sessions(world.store, [conversation_of(slack)], [slack])]
    await world.store.records.drop(records)
    discord = await world.talk(Platform.DISCORD, code)
    await world.settle()
    assert await linked(world, telegram, discord) == [None, None]


async def test_a_code_does_not_link_a_chat_to_itself(world: World, telegram: SessionId) -> None:
    code = await code_for(world, telegram)
    await world.talk(Platform.TELEGRAM, code)
    newer = await world.reset(telegram)
    await world.talk(Platform.TELEGRAM, code)
    await world.settle()
    assert await linked(world, newer) == [None]
    assert ["Send it from" in text for text in await answers(world, newer)] == [True, True]
    slack = await world.talk(Platform.SLACK, code)
    await world.settle()
    assert None not in await linked(world, newer, slack), "it was not used up"


@pytest.mark.parametrize("issuers", [True, False])
async def test_whoever_was_linked_before_a_claim_and_is_unlinked_since_is_not_linked_by_its_repeat(
    world: World, telegram: SessionId, issuers: bool
) -> None:
    """Nothing had to be done to link that one: nothing says later that it was done."""
    slack = await world.talk(Platform.SLACK)
    before = telegram if issuers else slack
    await world.ask(LinkIdentity(session_id=before, identity="ann"))
    code = await code_for(world, telegram)
    await world.talk(Platform.SLACK, code)
    await world.settle()
    assert await linked(world, telegram, slack) == ["ann", "ann"]
    await world.sync.identities.unlink(before)
    await world.settle()
    await world.talk(Platform.SLACK, code)
    await world.settle()
    assert await linked(world, before) == [None]
    assert (await answers(world, slack))[-1].startswith("This code has been used.")


async def test_a_claim_heard_again_changes_nothing_not_even_after_an_unlink(world: World, telegram: SessionId) -> None:
    slack = await world.talk(Platform.SLACK, await code_for(world, telegram))
    (heard,) = [event for event in world.waiting if event.data.kind == "message_appended" and event.subject == slack]
    await world.settle()
    for _ in range(3):
        await world.sync.handler.handle(heard)
    await world.quiet()
    assert world.counts()["identity_linked"] == 2
    assert len(await answers(world, slack)) == 1
    await world.sync.identities.unlink(slack)
    await world.sync.handler.handle(heard)
    await world.settle()
    assert await linked(world, slack) == [None]


async def test_a_claim_goes_on_wherever_it_was_killed(
    world: World, telegram: SessionId, monkeypatch: pytest.MonkeyPatch
) -> None:
    slack = await world.talk(Platform.SLACK, await code_for(world, telegram))
    (heard,) = [event for event in world.waiting if event.data.kind == "message_appended" and event.subject == slack]
    calls = 0

    class Killed(Exception):
        pass

    asked = world.commands.ask

    async def ask(given: Input, *, timeout: float = 10) -> CommandReply:
        nonlocal calls
        calls += 1
        if calls in {1, 3}:
            raise Killed  # before it was sent
        reply = await asked(given, timeout=timeout)
        if calls in {5, 8}:
            raise Killed  # after it was carried out
        return reply

    monkeypatch.setattr(world.commands, "ask", ask)
    kills = 0
    while True:
        world.restarted()
        try:
            await world.sync.handler.handle(heard)
            break
        except Killed:
            kills += 1
    await world.settle()
    assert kills == 4
    assert None not in await linked(world, telegram, slack)
    assert world.counts()["identity_linked"] == 2
    assert len(await answers(world, slack)) == 1


@pytest.mark.parametrize("error", [ConversationBlocked, IdentityConflict])
async def test_a_claim_whose_second_link_fails_leaves_no_half_of_it(
    world: World, telegram: SessionId, monkeypatch: pytest.MonkeyPatch, error: type[Refused]
) -> None:
    """Nor is the half in the way of the next one."""
    slack = await world.talk(Platform.SLACK, await code_for(world, telegram))
    (heard,) = [event for event in world.waiting if event.data.kind == "message_appended" and event.subject == slack]
    asked = world.commands.ask

    async def ask(given: Input, *, timeout: float = 10) -> CommandReply:
        if isinstance(given.data, LinkIdentity) and given.data.session_id == slack:
            raise error
        return await asked(given, timeout=timeout)

    with monkeypatch.context() as patched:
        patched.setattr(world.commands, "ask", ask)
        await world.settle()
        assert await linked(world, telegram, slack) == [None, None]
        assert world.counts()["identity_linked"] == 1
    for _ in range(3):
        await world.sync.handler.handle(heard)
    assert await linked(world, telegram, slack) == [None, None], "it was used up"
    await world.settle()
    assert len(await answers(world, slack)) == 1

    await world.sync.identities.link("somebody", [slack])
    await world.talk(Platform.SLACK, await code_for(world, telegram))
    await world.settle()
    assert await linked(world, telegram, slack) == ["somebody", "somebody"]


async def test_a_link_that_is_slow_to_come_is_taken_back_too(
    world: World, telegram: SessionId, monkeypatch: pytest.MonkeyPatch
) -> None:
    slack = await world.talk(Platform.SLACK, await code_for(world, telegram))
    asked = world.commands.ask
    queued: list[Input] = []

    async def ask(given: Input, *, timeout: float = 10) -> CommandReply:
        if isinstance(given.data, LinkIdentity):
            if given.data.session_id == slack:
                raise IdentityConflict
            queued.append(given)  # It is in its owner's queue, before all that comes later.
            raise ReplyTimeout
        while queued:
            await asked(queued.pop(0))
        return await asked(given, timeout=timeout)

    monkeypatch.setattr(world.commands, "ask", ask)
    await world.settle()
    assert queued == []
    assert await linked(world, telegram, slack) == [None, None]


async def test_text_that_only_looks_like_a_code_is_left_alone(world: World) -> None:
    slack = await world.talk(Platform.SLACK, "this that what when such much")
    await world.settle()
    assert [event.message.role for event in world.messages(slack)] == [Role.USER]


async def test_only_what_a_user_says_is_a_claim(world: World, telegram: SessionId) -> None:
    slack = await world.talk(Platform.SLACK)
    await world.reply(slack, await code_for(world, telegram))
    await world.settle()
    assert await linked(world, telegram, slack) == [None, None]


async def test_a_code_of_a_session_that_was_deleted_links_nobody(world: World, telegram: SessionId) -> None:
    code = await code_for(world, telegram)
    await world.ask(DeleteSession(session_id=telegram))
    slack = await world.talk(Platform.SLACK, code)
    await world.settle()
    assert await linked(world, slack) == [None]
    assert "not valid" in (await answers(world, slack))[0]


async def test_codes_are_given_out_for_live_sessions(world: World, telegram: SessionId) -> None:
    with pytest.raises(SessionNotFound):
        await world.sync.claims.issue(SessionId("a" * 26 + ".1"))
    for wrong in (0, -1, float("nan")):
        with pytest.raises(ValueError, match="good for more"):
            await world.sync.claims.issue(telegram, valid_for=wrong)


async def test_no_code_is_kept_that_could_be_used(world: World, telegram: SessionId) -> None:
    code = (await code_for(world, telegram)).replace("-", "")
    record = await world.store.records.get(RecordKind.CLAIM_CODE, code[:8])
    assert record is not None
    assert code[8:] not in record.model_dump_json()


async def test_all_processes_on_a_store_have_one_secret(world: World) -> None:
    made = [await Secret(world.store, world.clock).value() for _ in range(2)]
    assert made[0] == made[1]
    assert await Secret(world.store, world.clock, "given").value() == b"given"


async def test_history_that_is_copied_does_not_redirect_replies(world: World, telegram: SessionId) -> None:
    await world.policy(history=True)
    slack = await world.talk(Platform.SLACK, await code_for(world, telegram))
    await world.settle()
    await world.talk(Platform.SLACK, "seen from both")
    await world.settle()
    assert "seen from both" in await world.texts(telegram)
    await world.reply(telegram, "for telegram")
    await world.reply(slack, "for slack")
    await world.settle()
    for session, text in ((telegram, "for telegram"), (slack, "for slack")):
        (reply,) = [
            one.message for one in world.messages(session) if one.source is None and text in str(one.message.content)
        ]
        assert reply.address == (await world.head(session)).address
        assert reply.address is not None
        assert reply.address.platform == text.removeprefix("for ")
    copies = [one for one in world.messages(telegram) if one.source == slack]
    assert EventEnvelope.of(copies[0]).data.routing_key.startswith("session.copied.")
